"""The tree: whoever walks it meets every node."""

import dataclasses
from collections.abc import Iterator

from services.journey.language.expressions.syntax import Node
from tests.unit.language.sayings import parsed

EVERYTHING = """
not (any(p.x in [1, -event.a] for p in event.list) and last("A").b == profile.c + 2)
or sum("A", of=e.x * 2, where=all(q > 1 for q in e.y), within="7d") < 3
"""


def _held(node: Node) -> list[Node]:
    """The nodes in any field of a node, found without its help."""
    found: list[Node] = []
    for field in dataclasses.fields(node):
        held = getattr(node, field.name)
        items = held if isinstance(held, tuple) else (held,)
        found += [item for item in items if isinstance(item, Node)]
    return found


def _all(node: Node) -> Iterator[Node]:
    yield node
    for child in _held(node):
        yield from _all(child)


def test_the_children_are_all_nodes_that_a_node_holds() -> None:
    nodes = list(_all(parsed(EVERYTHING)))
    kinds = {kind.__name__ for kind in Node.__subclasses__()}
    assert {type(node).__name__ for node in nodes} == kinds
    for node in nodes:
        assert node.children() == _held(node)
