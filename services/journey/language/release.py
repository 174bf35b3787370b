"""What the page promises and this release does not do yet: one table, to be emptied.

Everything here parses and checks; only compiling it is refused, where it stands.
"""

from services.journey.language.expressions import Call, Node, Path
from services.journey.language.expressions.syntax import Span
from services.journey.language.problems import Problems, Spot
from services.journey.language.tree import Mapping

TRIGGERS: frozenset[str] = frozenset()
FUNCTIONS: frozenset[str] = frozenset()
ROOTS: frozenset[str] = frozenset()


def not_yet(problems: Problems, spot: Spot, name: str) -> None:
    problems.add(
        spot,
        f"`{name}` is not available in this release yet",
        "it is checked, but cannot be published",
        code="not_available",
    )


def add_unavailable_keys(problems: Problems, node: Mapping, names: frozenset[str]) -> None:
    for name in node:
        if name in names:
            not_yet(problems, node.key_spot(name), name)


def unavailable_in(node: Node) -> list[tuple[Span, str]]:
    """What a checked expression names that cannot be compiled yet."""
    found: list[tuple[Span, str]] = []
    if isinstance(node, Call) and node.function in FUNCTIONS:
        found.append((node.name_span, node.function))
    if isinstance(node, Path) and node.root in ROOTS:
        found.append((node.root_span, node.root))
    for child in node.children():
        found += unavailable_in(child)
    return found
