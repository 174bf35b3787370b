"""Functions over the history: their closures, and what they need to be kept."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from decimal import Context, Decimal

from services.journey.core.flow import Moment, Need, Past, Scope, Value
from services.journey.language.expressions import values
from services.journey.language.expressions.calls import COUNTED
from services.journey.language.expressions.functions import FUNCTIONS
from services.journey.language.expressions.names import Closure, Frame
from services.journey.language.expressions.syntax import Access, Call, Constant, Key, Node, Path
from shared.workspace import parse_duration

Fold = Callable[[Sequence[Value]], Value]


def closure(call: Call, compiled: Callable[[Node], Closure]) -> Closure:
    """One history function over one customer's events, those of the window and condition."""
    name, window = event_of(call), window_of(call)
    where, of = call.argument("where"), call.argument("of")
    condition = None if where is None else compiled(where)
    if of is not None:
        value, fold = compiled(of), _FOLDS[call.function]

        def folded(scope: Scope) -> Value:
            found = _found(scope, name, window, condition)
            return fold([value(_frame(scope, _moment(name, past))) for past in found])

        return folded
    if call.function == "did":
        return lambda scope: any(True for _ in _found(scope, name, window, condition))
    if call.function == "count":
        return lambda scope: sum(1 for _ in _found(scope, name, window, condition))
    last = call.function == "last"

    def one(scope: Scope) -> Value:
        past = next(_found(scope, name, window, condition, backwards=last), None)
        return None if past is None else _moment(name, past)

    return one


def event_of(call: Call) -> str:
    literal = call.arguments[0]
    assert isinstance(literal, Constant)
    return str(literal.value)


def window_of(call: Call) -> timedelta | None:
    literal = call.argument("within")
    return parse_duration(literal.value) if isinstance(literal, Constant) else None


def _found(
    scope: Scope,
    name: str,
    window: timedelta | None,
    condition: Closure | None,
    *,
    backwards: bool = False,
) -> Iterator[Past]:
    events = scope.history.get(name, ())
    limit = None if window is None else scope.now - window
    for past in reversed(events) if backwards else events:
        if limit is not None and past.at <= limit:
            continue
        if condition is None or condition(_frame(scope, _moment(name, past))) is True:
            yield past


def _moment(name: str, past: Past) -> Moment:
    return Moment(name, past.properties, past.context, past.at)


def _frame(scope: Scope, moment: Moment) -> Frame:
    outer = scope.variables if isinstance(scope, Frame) else {}
    return Frame(
        *(scope.now, scope.profile, scope.event, scope.trigger, scope.history, scope.steps),
        scope.segments,
        scope.rfm,
        {**outer, COUNTED: moment},
    )


# Folds: what is no number (no instant or text, for the extremes) does not count ----------------


_EXACT = Context(prec=1_400, Emax=9_999, Emin=-9_999)
"""Places enough for the sum of any doubles."""


def _numbers(found: Sequence[Value]) -> list[float]:
    return [value for value in found if values.is_number(value)]


def _total(numbers: list[float]) -> float:
    """As people add amounts: 0.1 ten times is 1, and the order of events does not matter."""
    if all(type(number) is int for number in numbers):
        return sum(numbers)
    total = Decimal(0)
    for number in numbers:
        total = _EXACT.add(total, Decimal(repr(number)))
    return float(total)


def _sum(found: Sequence[Value]) -> Value:
    return values.ARITHMETIC["+"](0, _total(_numbers(found)))


def _average(found: Sequence[Value]) -> Value:
    numbers = _numbers(found)
    return values.ARITHMETIC["/"](_total(numbers), len(numbers)) if numbers else None


def _extreme(test: str) -> Fold:
    def fold(found: Sequence[Value]) -> Value:
        best: Value = None
        for value in found:
            if best is None or values.COMPARISONS[test](value, best):
                best = value
        return best

    return fold


_FOLDS: dict[str, Fold] = {
    "sum": _sum,
    "avg": _average,
    "min": _extreme("<"),
    "max": _extreme(">"),
}


# Needs -----------------------------------------------------------------------------------------


def needs(node: Node) -> Iterator[Need]:
    """What an expression asks of the history, function by function."""
    if isinstance(node, Access) and isinstance(node.base, Call):
        yield from _call_needs(node.base, node.keys[:1])
    elif isinstance(node, Call):
        yield from _call_needs(node, ())
    for child in node.children():
        yield from needs(child)


def _call_needs(call: Call, keys: tuple[Key, ...]) -> Iterator[Need]:
    function = FUNCTIONS.get(call.function)
    if function is None or not function.history:
        return
    read = list(keys)
    for named in call.named:
        read += (path.keys[0] for path in _paths(named.value) if path.root == COUNTED and path.keys)
    fields = {str(key.value) for key in read if key.quoted or key.value not in ("name", "context")}
    context = any(not key.quoted and key.value == "context" for key in read)
    yield Need(event_of(call), tuple(sorted(fields)), context, window_of(call))


def _paths(node: Node) -> Iterator[Path]:
    if isinstance(node, Path):
        yield node
    for child in node.children():
        yield from _paths(child)
