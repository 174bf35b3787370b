"""Checks of names: roots by place, fields of what is known, ids of steps, known values."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from services.journey.language.expressions.context import RFM_FIELDS, STEP_FIELDS, Context
from services.journey.language.expressions.kinds import Kind
from services.journey.language.expressions.syntax import (
    ROOTS,
    Arithmetic,
    Constant,
    Items,
    Key,
    Mistake,
    Node,
    Path,
    Span,
    step_id,
)
from services.journey.language.problems import nearest
from shared.decisions import CALL_REASONS, MESSAGE_REASONS, CallOutcome, Decision
from shared.rfm import SEGMENTS

if TYPE_CHECKING:
    from services.journey.language.expressions.checker import Checker
    from services.journey.language.expressions.shapes import Shape

_FIELD_KINDS = {"outcome": Kind.TEXT, "reason": Kind.TEXT, "variant": Kind.TEXT}
_FIELD_KINDS |= {"opened": Kind.BOOL, "clicked": Kind.BOOL, "event": Kind.EVENT}

_TEXTS = frozenset({"email", "phone", "push_token", "timezone", "locale"})
"""Traits with a meaning of their own; one of another type counts as absent."""

_ELSEWHERE = {
    "event": "the event that began the run is `trigger`; the one of a `wait_for` is `event` "
    "in its `then` and steps.<id>.event afterwards",
    "trigger": "write `event`: the run begins with it",
    "steps": "no step has run here yet",
}
_ALIASES = {
    "user": "profile",
    "customer": "profile",
    "traits": "profile",
    "contact": "profile",
    "person": "profile",
    "properties": "event",
    "props": "event",
    "e": "event",
    "step": "steps",
}


def kind(checker: Checker, path: Path) -> Kind:
    context, root = checker.context, path.root
    if root in context.variables:
        kept = Kind.EVENT if root == "e" else Kind.ANY
        return into(checker, kept, path.keys, context.held.get(root))
    if root not in ROOTS:
        _unknown_root(checker, path)
        return Kind.ANY
    if root not in context.roots:
        message = f"`{root}` is not known in {context.place}"
        checker.add(path.root_span, message, _where_else(root, context), "unknown_name")
        return Kind.ANY
    if root == "now":
        return into(checker, Kind.INSTANT, path.keys)
    if not path.keys:
        example = {"steps": "steps.first_nudge.outcome", "rfm": "rfm.recency"}.get(root)
        checker.add(
            path.span, f"`{root}` alone is no value", f"name a field: {example or root + '.price'}"
        )
        return Kind.ANY
    if isinstance(path.keys[0].value, int):
        checker.add(path.keys[0].span, f"`{root}` is no list", "name a field")
        return Kind.ANY
    if root == "steps":
        return _step(checker, path)
    if root == "rfm":
        return _rfm(checker, path)
    shape = context.held.get(root)
    if root == "event":
        return into(checker, Kind.EVENT, path.keys, shape)
    return _trait(path) if shape is None else _property(checker, shape, path.keys)


def _trait(path: Path) -> Kind:
    is_text = path.root == "profile" and len(path.keys) == 1 and path.keys[0].value in _TEXTS
    return Kind.TEXT if is_text else Kind.ANY


def _where_else(root: str, context: Context) -> str:
    if not context.roots & {"event", "trigger"}:
        return "known here are `profile`, `now`, `rfm`, what has happened and segments"
    return _ELSEWHERE.get(root, "")


def into(checker: Checker, whole: Kind, keys: tuple[Key, ...], shape: Shape | None = None) -> Kind:
    """The kind of `.x` of something; `shape` is what the tracking plan says of an event."""
    for at, key in enumerate(keys):
        if whole is Kind.EVENT:
            if isinstance(key.value, int):
                checker.add(key.span, "an event is no list", "name a field")
            named = {} if key.quoted else {"name": Kind.TEXT, "context": Kind.MAP}
            if shape is not None and key.value not in named:
                return _property(checker, shape, keys)
            whole = named.get(str(key.value), Kind.ANY)
        elif whole in (Kind.ANY, Kind.MAP):
            return Kind.ANY
        elif whole is Kind.LIST and isinstance(key.value, int):
            whole = Kind.ANY
        else:
            checker.add(keys[at].span, f"{whole.value} has no fields")
            return Kind.ANY
    return whole


def _property(checker: Checker, shape: Shape, keys: tuple[Key, ...]) -> Kind:
    name = str(keys[0].value)
    kind = shape.kind(name)
    if kind is None:
        message, hint = shape.said(name)
        checker.add(keys[0].span, message, hint, "unknown_property")
        return Kind.ANY
    return into(checker, kind, keys[1:])


def taken_name(variable: str, context: Context) -> str:
    """Why a generator's variable cannot have this name, or nothing."""
    if variable in ROOTS:
        return f"`{variable}` has a meaning of its own"
    return f"`{variable}` is taken by the outer condition" if variable in context.variables else ""


def hyphenated_step(node: Arithmetic) -> Mistake | None:
    """`steps.first-nudge.outcome` reads as a subtraction; says how it is written instead."""
    left, right = node.left, node.right
    if node.operator != "-" or not isinstance(left, Path) or not isinstance(right, Path):
        return None
    if left.root != "steps" or len(left.keys) != 1 or left.span.end + 1 != right.span.start:
        return None
    step = f"{left.keys[0].value}-{right.root}"
    written = step.replace("-", "_")
    return Mistake(
        Span(left.keys[0].span.start, right.root_span.end),
        "a hyphen in a step's id reads as a minus here",
        f'write steps.{written} or steps["{step}"]',
        "unknown_name",
    )


def known_values(checker: Checker, node: Node, other: Node) -> None:
    """`steps.x.outcome == "delivered"`: a word that the field never holds."""
    words = _words_of(checker, node)
    if not words:
        return
    assert isinstance(node, Path)
    for item in other.items if isinstance(other, Items) else (other,):
        if isinstance(item, Constant) and isinstance(item.value, str) and item.value not in words:
            checker.add(
                item.span,
                f"`{node.keys[-1].value}` is never `{item.value[:40]}`",
                nearest(item.value, words),
            )


def _words_of(checker: Checker, node: Node) -> tuple[str, ...]:
    if not isinstance(node, Path):
        return ()
    if node.root == "rfm" and [key.value for key in node.keys] == ["segment"]:
        return tuple(SEGMENTS)
    if node.root != "steps" or len(node.keys) != 2:
        return ()
    step = checker.context.steps.get(step_id(node.keys[0]), "")
    return _WORDS.get((step, str(node.keys[1].value)), ())


_WORDS: dict[tuple[str, str], tuple[str, ...]] = {
    ("send", "outcome"): get_args(Decision),
    ("send", "reason"): tuple(map(str, MESSAGE_REASONS)),
    ("call", "outcome"): get_args(CallOutcome),
    ("call", "reason"): tuple(map(str, CALL_REASONS)),
    ("wait_for", "outcome"): ("matched", "timed_out"),
}


def _unknown_root(checker: Checker, path: Path) -> None:
    context = checker.context
    known = context.roots | context.variables
    if path.root in _ALIASES and _ALIASES[path.root] in known:
        hint = f"did you mean `{_ALIASES[path.root]}`?"
    elif not path.keys and not context.variables:
        hint = f'a text stands in quotes: "{path.root}"; a property is written event.{path.root}'
        if "event" not in known:
            hint = f'a text stands in quotes: "{path.root}"; a trait is written profile.{path.root}'
    else:
        hint = nearest(path.root, known)
    checker.add(path.root_span, f"there is no `{path.root[:40]}` here", hint, "unknown_name")


def _step(checker: Checker, path: Path) -> Kind:
    context, key = checker.context, path.keys[0]
    step = step_id(key)
    if step not in context.steps:
        hint = nearest(step, context.steps)
        checker.add(key.span, f"no step has the id `{step[:60]}`", hint, "unknown_step")
        return Kind.ANY
    fields = STEP_FIELDS.get(context.steps[step], ())
    if not fields:
        what = context.steps[step]
        checker.add(key.span, f"`{step}` is a `{what}` step, which leaves no result behind")
        return Kind.ANY
    if len(path.keys) < 2:
        checker.add(path.span, f"a field of the step `{step}` is missing", nearest("", fields))
        return Kind.ANY
    field = path.keys[1]
    if field.value not in fields:
        checker.add(
            field.span,
            f"a `{context.steps[step]}` step has no `{str(field.value)[:40]}`",
            nearest(str(field.value), fields),
            "unknown_name",
        )
        return Kind.ANY
    kind = _FIELD_KINDS.get(str(field.value), Kind.ANY)
    return into(checker, kind, path.keys[2:], context.held.get(f"steps.{step}"))


def _rfm(checker: Checker, path: Path) -> Kind:
    field = path.keys[0]
    if field.value not in RFM_FIELDS:
        hint = nearest(str(field.value), RFM_FIELDS)
        checker.add(field.span, f"there is no `rfm.{field.value}`"[:80], hint, "unknown_name")
        return Kind.ANY
    return into(checker, Kind.TEXT if field.value == "segment" else Kind.NUMBER, path.keys[1:])
