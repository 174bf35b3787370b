"""When time alone may change what an expression yields: the next such instant, of one customer.

Windows end when an event falls out of them, `days_since` changes at full days, and a comparison
with `now` where its two sides cross: each has an exact instant. What is left (`now` times
something, within lists or the conditions of history functions) is looked at every five minutes,
which is how often time is looked at in production.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.journey.core.flow import Moment, Scope
from services.journey.language.expressions import values
from services.journey.language.expressions.closures import compiled
from services.journey.language.expressions.functions import FUNCTIONS
from services.journey.language.expressions.history import event_of, window_of
from services.journey.language.expressions.syntax import (
    Access,
    Arithmetic,
    Call,
    Comparison,
    Constant,
    Negative,
    Node,
    Path,
    Quantifier,
)
from shared.clock import EPOCH

NextChange = Callable[[Scope], datetime | None]

GRID = timedelta(minutes=5)
_DAY = timedelta(days=1)
_INSTANT = timedelta(microseconds=1)


def next_change(node: Node, timed: Collection[str]) -> NextChange | None:
    """The earliest instant after the scope's `now` at which the value may be another.

    It may name one too many, never one too late. None where time changes nothing. `timed` are the
    segments that time changes.
    """
    found = list(_Times(timed).of(node))
    if not found:
        return None
    return lambda scope: min((at for each in found if (at := each(scope))), default=None)


@dataclass(frozen=True, slots=True)
class _Times:
    timed: Collection[str]

    def of(self, node: Node) -> Iterator[NextChange]:
        match node:
            case Call(function="in_segment"):
                if _name_in(node) in self.timed:
                    yield _of_segment(_name_in(node))
            case Call() if FUNCTIONS[node.function].history:
                yield from self._of_history(node)
            case Call(function="days_since") if _slope(node.arguments[0]) == 0:
                yield _of_days(node)
                yield from self.of(node.arguments[0])
            case Comparison() if all(op not in ("in", "not in") for op in node.operators):
                yield from self._of_comparison(node)
            case Quantifier() if self._reads_time(node.condition):
                yield _on_the_grid  # it reads variables that are not at hand here
            case Arithmetic() | Negative() if _slope(node) is not None:
                yield from self._under(node)
            case _ if any(_slope(child) != 0 for child in node.children()):
                yield _on_the_grid
            case _:
                yield from self._under(node)

    def _under(self, node: Node) -> Iterator[NextChange]:
        for child in node.children():
            yield from self.of(child)

    def _of_history(self, call: Call) -> Iterator[NextChange]:
        if any(self._reads_time(named.value) for named in call.named):
            yield _on_the_grid
        window = window_of(call)
        if window is not None:
            yield _falling_out(event_of(call), window)

    def _of_comparison(self, node: Comparison) -> Iterator[NextChange]:
        for operand in node.operands:
            yield from self.of(operand)
        for left, right in zip(node.operands, node.operands[1:], strict=False):
            first, second = _slope(left), _slope(right)
            if first is None or second is None:
                yield _on_the_grid
            elif first != second:
                yield _crossing(left, right, first - second)

    def _reads_time(self, node: Node) -> bool:
        if isinstance(node, Path):
            return node.root == "now"
        return any(True for _ in self.of(node)) or any(map(self._reads_time, node.children()))


def _on_the_grid(scope: Scope) -> datetime | None:
    return EPOCH + ((scope.now - EPOCH) // GRID + 1) * GRID


def _name_in(call: Call) -> str:
    literal = call.arguments[0]
    assert isinstance(literal, Constant)
    return str(literal.value)


def _of_segment(name: str) -> NextChange:
    def find(scope: Scope) -> datetime | None:
        segment = scope.segments.get(name)
        return None if segment is None else segment.next_change(scope)

    return find


def _falling_out(name: str, window: timedelta) -> NextChange:
    """The window is open at its far end: an event is out of it at the very instant."""

    def find(scope: Scope) -> datetime | None:
        limit = scope.now - window
        falling = (past.at for past in scope.history.get(name, ()) if past.at > limit)
        return next((at + window for at in falling), None)

    return find


def _of_days(call: Call) -> NextChange:
    since = compiled(call.arguments[0])

    def find(scope: Scope) -> datetime | None:
        value = since(scope)
        instant = values.instant_of(value.at if isinstance(value, Moment) else value)
        if instant is None:
            return None
        try:
            return instant + ((scope.now - instant) // _DAY + 1) * _DAY
        except OverflowError:
            return None

    return find


def _crossing(left: Node, right: Node, slope: int) -> NextChange:
    """Where the two sides of a comparison are equal, and the instant behind it."""
    first, second = compiled(left), compiled(right)

    def find(scope: Scope) -> datetime | None:
        pair = values.alike(first(scope), second(scope))
        if pair is None or not isinstance(pair[0], datetime | timedelta):
            return None
        try:
            at = scope.now - (pair[0] - pair[1]) / slope
            return next((t for t in (at, at + _INSTANT) if t > scope.now), None)
        except OverflowError:
            return None

    return find


def _slope(node: Node) -> int | None:
    """How fast a value moves with `now`; None where that is no whole number."""
    match node:
        case Path(root="now"):
            return 1 if not node.keys else 0
        case Negative():
            inner = _slope(node.operand)
            return None if inner is None else -inner
        case Arithmetic():
            left, right = _slope(node.left), _slope(node.right)
            if left is None or right is None:
                return None
            if node.operator in ("*", "/"):
                return 0 if left == right == 0 else None
            return left + right if node.operator == "+" else left - right
        case Access():
            return 0 if _slope(node.base) == 0 else None
    return 0
