"""Checks of function calls: names, number and kinds of arguments, durations, patterns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.journey.language.expressions.functions import (
    ALIASES,
    FUNCTIONS,
    QUANTIFIERS,
    Function,
)
from services.journey.language.expressions.kinds import Kind
from services.journey.language.expressions.patterns import BadPattern, pattern
from services.journey.language.expressions.syntax import Call, Constant, Named, Node
from services.journey.language.problems import nearest
from shared.workspace import parse_duration

if TYPE_CHECKING:
    from services.journey.language.expressions.checker import Checker

COUNTED = "e"
"""The event that is being counted, in `where=` and `of=`."""


def kind(checker: Checker, call: Call) -> Kind:
    function = FUNCTIONS.get(call.function)
    if function is None:
        _unknown(checker, call)
        return Kind.ANY
    if len(call.arguments) != len(function.parameters):
        _miscounted(checker, call, function)
        return function.result
    for argument, accepted in zip(call.arguments, function.parameters, strict=True):
        found = checker.kind(argument)
        if found is not Kind.ANY and found not in accepted:
            names = " or ".join(sorted(k.value for k in accepted))
            checker.add(
                argument.span,
                f"`{call.function}` needs {names} here and this is {found.value}",
                f"as in {function.usage}",
            )
    if function.history:
        _history(checker, call, function)
    elif call.named:
        checker.add(call.named[0].span, f"`{call.function}` takes no `{call.named[0].name}=`")
    if call.function == "matches":
        _pattern(checker, call.arguments[1])
    elif call.function == "in_segment":
        _segment(checker, call.arguments[0])
    return function.result


def _unknown(checker: Checker, call: Call) -> None:
    for argument in (*call.arguments, *call.named):
        checker.kind(argument, checker.context.knowing(COUNTED))
    if call.function in QUANTIFIERS:
        checker.add(
            call.span,
            f"`{call.function}` needs a condition for each item of a list",
            f'as in {call.function}(p.sku == "A1" for p in event.products)',
        )
        return
    meant = ALIASES.get(call.function.lower())
    known = (*FUNCTIONS, *QUANTIFIERS)
    hint = f"did you mean `{meant}`?" if meant else nearest(call.function, known)
    checker.add(
        call.name_span, f"there is no function `{call.function[:40]}`", hint, "unknown_name"
    )


def _miscounted(checker: Checker, call: Call, function: Function) -> None:
    for argument in (*call.arguments, *call.named):
        checker.kind(argument, checker.context.knowing(COUNTED))
    wanted = len(function.parameters)
    noun = "argument" if wanted == 1 else "arguments"
    checker.add(
        call.span,
        f"`{call.function}` takes {wanted} {noun} and here are {len(call.arguments)}",
        f"as in {function.usage}",
    )


def _history(checker: Checker, call: Call, function: Function) -> None:
    event = call.arguments[0]
    if not isinstance(event, Constant) or not event.value:
        checker.add(event.span, "an event's name stands here, in quotes", f"as in {function.usage}")
    elif checker.context.plan is not None and not checker.context.plan.knows(str(event.value)):
        checker.add(event.span, *checker.context.plan.unknown(str(event.value)), "unknown_event")
    known = ("within", "where", "of") if function.of else ("within", "where")
    for named in call.named:
        if named.name in known:
            _named(checker, named, event.value if isinstance(event, Constant) else None)
        else:
            hint = nearest(named.name, known)
            checker.add(named.name_span, f"`{call.function}` takes no `{named.name[:40]}=`", hint)
    if function.of and call.argument("of") is None:
        checker.add(call.span, f"`{call.function}` needs `of=`", f"as in {function.usage}")


def _named(checker: Checker, named: Named, event: object) -> None:
    if named.name == "within":
        _window(checker, named.value)
        return
    found = checker.kind(named.value, checker.context.counting(COUNTED, event))
    if named.name == "where":
        checker.holds(named.value, found, "the condition of `where=`")
    elif found not in (Kind.ANY, Kind.NUMBER, Kind.TEXT):
        checker.add(named.value.span, f"`of=` needs a number and this is {found.value}")


def _window(checker: Checker, node: Node) -> None:
    if not isinstance(node, Constant) or not isinstance(node.value, str):
        checker.add(node.span, "`within` needs a duration in quotes", 'as in within="30d"')
        return
    try:
        if not parse_duration(node.value):
            checker.add(node.span, "`within` needs a duration longer than nothing")
    except ValueError as error:
        checker.add(node.span, str(error), 'as in within="30d"')


def _pattern(checker: Checker, node: Node) -> None:
    if not isinstance(node, Constant) or not isinstance(node.value, str):
        checker.add(node.span, "the pattern of `matches` is written out, in quotes")
        return
    try:
        pattern(node.value)
    except BadPattern as error:
        checker.add(
            node.span,
            f"this pattern cannot be read: {error}",
            "patterns are RE2's: no look-around and no back-references",
        )


def _segment(checker: Checker, node: Node) -> None:
    if not isinstance(node, Constant) or not isinstance(node.value, str):
        checker.add(node.span, "a segment's name stands here, in quotes")
        return
    segments = checker.context.segments
    if segments is not None and node.value not in segments:
        hint = nearest(node.value, segments) or "segments are files in segments/"
        checker.add(node.span, f"there is no segment `{node.value[:60]}`", hint, "unknown_segment")
