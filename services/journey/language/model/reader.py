"""The located tree to a checked model, with pydantic's errors in a marketer's words, in place."""

import re
from collections.abc import Mapping as AnyMapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from services.journey.language.model.salvage import salvage
from services.journey.language.problems import Problems, Spot, nearest
from services.journey.language.tree import Mapping, Node, Scalar, node_at, spot_at

M = TypeVar("M", bound=BaseModel)

_FIELD = re.compile(r"[\w. -]+")

Places = dict[int, type[BaseModel]]
"""Which model reads which node, filled in while pydantic validates."""


def read_model(model: type[M], root: Node, problems: Problems) -> tuple[M | None, bool]:
    """The model, and whether it is whole.

    Where the tree does not fit, problems are added and the model holds what could be kept, so that
    the later passes can say what else is wrong; None where nothing could.
    """
    places: Places = {}
    try:
        return model.model_validate(root, context=places), True
    except ValidationError as error:
        add_errors(error, root, problems, places)
        return salvage(model, root, error), False


def add_errors(
    error: ValidationError, root: Node, problems: Problems, places: Places | None = None
) -> None:
    for detail in error.errors(include_url=False):
        if detail["type"] == "too_short" and node_at(root, detail["loc"]):
            continue  # pydantic counts the good items only, and the bad ones are reported
        spot, message, hint, code = _worded(detail, root, places or {})
        problems.add(spot, message, hint, code=code)


def _worded(detail: ErrorDetails, root: Node, places: Places) -> tuple[Spot, str, str, str]:
    path, context = detail["loc"], detail.get("ctx", {})
    spot, node = spot_at(root, path), node_at(root, path)
    match detail["type"]:
        case "missing":
            return spot, f"`{path[-1]}` is missing here", _misspelt(path, root, places), "missing"
        case "extra_forbidden":
            known = _fields(node_at(root, path[:-1]), places)
            hint = nearest(str(path[-1]), known)
            if not _FIELD.fullmatch(str(path[-1])):
                hint = "within `{ }`, a condition that has commas itself needs quotes"
            spot = spot_at(root, path, key=True)
            return spot, f"there is no field `{str(path[-1])[:60]}` here", hint, "unknown_field"
        case "kind":
            return _kind(spot, node, context)
        case "dangol":
            return spot, str(context["message"]), str(context["hint"]), "invalid"
        case "value_error":
            return spot, str(context.get("error", detail["msg"])), "", "invalid"
        case "literal_error" | "enum":
            words = [
                w.strip("'") for w in str(context["expected"]).replace(" or ", ", ").split(", ")
            ]
            said = node.text if isinstance(node, Scalar) else ""
            message = f"`{said[:60]}` is not one of {', '.join(words)}"
            return spot, message, nearest(said, words), "invalid"
        case "too_short":
            return spot, "at least one is needed here", "", "missing"
    return spot, _type_words(detail["type"], context, node), "", "invalid"


def _kind(spot: Spot, node: Node, context: AnyMapping[str, Any]) -> tuple[Spot, str, str, str]:
    """Which step, trigger or arm this is cannot be told."""
    kinds, what = context["kinds"], context["what"]
    if not isinstance(node, Mapping):
        return spot, f"{what} is a group of fields", f"such as `{kinds[0]}: …`", "invalid"
    present = [kind for kind in kinds if kind in node]
    if present:
        second = node.key_spot(present[1])
        both = " and ".join(f"`{kind}`" for kind in present)
        hint = "each step begins with its own dash"
        return second, f"{what} is one thing, and here are {both}", hint, "invalid"
    for key, at in node.keys_at.items():
        hint = nearest(key, kinds)
        if hint.startswith("did"):
            return at.spot, f"there is no field `{key[:60]}` here", hint, "unknown_field"
    known = ", ".join(f"`{kind}`" for kind in kinds)
    if len(node) == 1:
        key, at = next(iter(node.keys_at.items()))
        return at.spot, f"`{key[:60]}` is not {what}", f"there is {known}", "unknown_field"
    return spot, f"{what} needs one of {known}", "", "missing"


def _type_words(kind: str, context: AnyMapping[str, Any], node: Node) -> str:
    said = f"`{node.text[:60]}`" if isinstance(node, Scalar) else "this"
    match kind:
        case "greater_than_equal":
            return f"{said} is too little: the least is {context['ge']}"
        case "less_than_equal":
            return f"{said} is too much: the most is {context['le']}"
        case "int_parsing" | "int_from_float" | "int_type":
            return f"{said} is no whole number"
        case "float_parsing" | "float_type" | "finite_number":
            return f"{said} is no number"
        case "bool_type" | "bool_parsing":
            return f"{said} is neither true nor false"
        case "tuple_type" | "list_type":
            return "a list is needed here: put a dash (`- `) before each item"
        case "string_type":
            return "a text is needed here"
    return "a group of fields is needed here (`name: value`)"


def _misspelt(path: tuple[int | str, ...], root: Node, places: Places) -> str:
    """Whether a field beside the missing one may be it, misspelt."""
    node = node_at(root, path[:-1])
    if not isinstance(node, Mapping):
        return ""
    known = _fields(node, places)
    strange = [key for key in node if key not in known]
    hint = nearest(str(path[-1]), strange) if strange else ""
    return f"`{strange[0]}` stands here instead" if hint.startswith("did") else ""


def _fields(node: Node, places: Places) -> list[str]:
    model = places.get(id(node))
    if model is None:
        return []
    return [field.alias or name for name, field in model.model_fields.items()]
