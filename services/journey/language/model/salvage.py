"""What can be kept of a file that has mistakes, so that its other mistakes are found as well.

The parts that pydantic refuses are cut out of a copy of the tree, and a stand-in takes the place
of a required one, until the rest validates. Stand-ins have no place in the file (line 0), which
keeps them out of every problem.
"""

from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from services.journey.language.problems import NOWHERE, Source
from services.journey.language.tree import Mapping, Node, Scalar, Sequence

M = TypeVar("M", bound=BaseModel)
_Path = tuple[int | str, ...]

_MOST_ROUNDS = 40
_NO_FILE = Source("", ())
_STEP_LISTS = ("steps", "then", "timed_out", "otherwise")


def salvage(model: type[M], root: Node, error: ValidationError) -> M | None:
    """A model of the good parts, or None; `error` is what the whole tree met."""
    copy = _copied(root)
    if not isinstance(copy, Mapping):
        return None
    for _ in range(_MOST_ROUNDS):
        # From the back: cutting an item out must not move those that are still to be cut.
        for detail in reversed(error.errors(include_url=False)):
            path = _real(copy, detail["loc"])
            if detail["type"] == "too_short" and _at(copy, path):
                continue  # of the items that pydantic refused
            if not _mend(copy, path, detail["type"]):
                return None
        try:
            return model.model_validate(copy)
        except ValidationError as again:
            error = again
    return None


def _mend(root: Mapping, path: _Path, kind: str) -> bool:
    if not path:
        return False
    *way, last = path
    parent = _at(root, tuple(way))
    if kind == "missing" and isinstance(parent, Mapping) and isinstance(last, str):
        stand_in = _STAND_INS.get(last)
        if stand_in is None:
            return _mend(root, tuple(way), "")
        parent[last] = stand_in()
    elif isinstance(parent, Mapping) and isinstance(last, str):
        parent.pop(last, None)
    elif isinstance(parent, Sequence) and isinstance(last, int) and last < len(parent):
        if len(way) > 0 and way[-1] in _STEP_LISTS:
            parent[last] = _step()  # the steps behind it keep their positions
        else:
            del parent[last]
    return True


def _real(root: Node, path: _Path) -> _Path:
    """The path without what is no part of the tree, such as the names of a union's members."""
    real: list[int | str] = []
    node: Node | None = root
    for at, part in enumerate(path):
        if isinstance(node, Mapping) and part in node:
            node = node[str(part)]
        elif isinstance(node, Sequence) and isinstance(part, int) and part < len(node):
            node = node[part]
        elif at < len(path) - 1 or ":" in str(part):
            continue
        real.append(part)
    return tuple(real)


def _at(root: Node, path: _Path) -> Node | None:
    node: Node | None = root
    for part in path:
        if isinstance(node, Mapping) and isinstance(part, str):
            node = node.get(part)
        elif isinstance(node, Sequence) and isinstance(part, int) and part < len(node):
            node = node[part]
        else:
            return None
    return node


def _copied(node: Node) -> Node:
    if isinstance(node, Mapping):
        mapping = Mapping(node.spot)
        mapping.keys_at = node.keys_at
        for key, value in node.items():
            mapping[key] = _copied(value)
        return mapping
    if isinstance(node, Sequence):
        sequence = Sequence(node.spot)
        sequence.extend(_copied(item) for item in node)
        return sequence
    return node


def _word() -> Scalar:
    return Scalar("stand-in", "", 0, 0, _NO_FILE)


def _step() -> Mapping:
    return _fields("exit")


def _fields(name: str) -> Mapping:
    mapping = Mapping(NOWHERE)
    mapping[name] = _word()
    mapping.keys_at[name] = _word()
    return mapping


def _steps() -> Sequence:
    sequence = Sequence(NOWHERE)
    sequence.append(_step())
    return sequence


def _null() -> Scalar:
    return Scalar("null == null", '"', 0, 0, _NO_FILE)


def _span() -> Scalar:
    return Scalar("1d", "", 0, 0, _NO_FILE)


def _one() -> Scalar:
    return Scalar("1", "", 0, 0, _NO_FILE)


_STAND_INS: dict[str, Callable[[], Node]] = {
    "journey": _word,
    "segment": _word,
    "variant": _word,
    "template": _word,
    "event": _word,
    "trigger": lambda: _fields("event"),
    "steps": _steps,
    "when": _null,
    "where": _null,
    "timeout": _span,
    "weight": _one,
    "times": _one,
}
"""By the name of a required field."""
