"""From the checked tree to SQL over rows of `customers`: the counterpart of the closures.

What does not depend on the customer is computed beforehand, by the closure itself. What SQL cannot
answer exactly is widened: the condition then holds for at least everybody for whom the closure
does, and the caller looks again.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from services.journey.core.flow import Moment, Scope
from services.journey.language.expressions import values
from services.journey.language.expressions.closures import compiled
from services.journey.language.expressions.functions import FUNCTIONS
from services.journey.language.expressions.syntax import (
    Access,
    Arithmetic,
    Call,
    Comparison,
    Constant,
    Items,
    Key,
    Logical,
    Negative,
    Node,
    Not,
    Path,
    Quantifier,
)
from services.journey.language.sql import operators, patterns
from services.journey.language.sql.history import Histories, Past
from services.journey.language.sql.kinds import (
    NULL,
    Column,
    Condition,
    Happening,
    Inexact,
    Value,
    is_kind,
    of_constant,
    of_json,
    since_epoch,
)
from services.journey.language.sql.row import Row
from shared.clock import EPOCH

_CUSTOMERS_OWN = ("profile", "rfm", "now")
_FURTHEST = 2**31
HIGHEST = 25
"""Levels of a tree that are compiled: each costs several levels of SQL, and SQLAlchemy recurses."""


class Compiler:
    def __init__(
        self,
        row: Row,
        now: Column,
        segments: Mapping[str, Node],
        trigger: Moment | None,
        histories: Histories,
    ) -> None:
        self.exact = True
        self._row = row
        self._now = now
        self._now_in_microseconds = sa.select(since_epoch(now)).scalar_subquery()
        self._segments = segments
        self._scope = Scope(EPOCH, {}, trigger, trigger)
        self._histories = histories
        self._variables: dict[str, Value | Happening] = {}
        self._names = 0
        self._height = 0
        self._entered: list[str] = []

    # Conditions: true or false, never NULL -------------------------------------------------------

    def holds(self, node: Node, widen: bool | None = None) -> Condition:
        """Whether the node is true. What cannot be exact becomes `widen`, or raises Inexact."""
        try:
            with self._higher():
                return self._holds(node, widen)
        except Inexact:
            if widen is None:
                raise
            self.exact = False
            return sa.true() if widen else sa.false()

    def _holds(self, node: Node, widen: bool | None) -> Condition:
        match node:
            case Logical():
                parts = [self.holds(operand, widen) for operand in node.operands]
                return sa.and_(*parts) if node.operator == "and" else sa.or_(*parts)
            case Not():
                return sa.not_(self.holds(node.operand, None if widen is None else not widen))
            case Comparison():
                return self._comparison(node)
            case Quantifier():
                return self._quantifier(node, widen)
            case Call() if node.function in self._conditions:
                return self._conditions[node.function](self, node, widen)
        boolean = self.value(node).boolean
        return sa.false() if boolean is None else sa.func.coalesce(boolean, sa.false())

    def _comparison(self, node: Comparison) -> Condition:
        operands = [self.value(operand) for operand in node.operands]
        pairs = zip(node.operators, operands, operands[1:], strict=False)
        return sa.and_(*(self._compared(name, a, b) for name, a, b in pairs))

    def _compared(self, name: str, a: Value, b: Value) -> Condition:
        if name == "==":
            return operators.same(a, b)
        if name == "!=":
            return operators.different(a, b)
        if name == "in":
            return operators.within(a, b, self._name)
        if name == "not in":
            return sa.not_(operators.within(a, b, self._name))
        return operators.ordered(name, a, b)

    def _quantifier(self, node: Quantifier, widen: bool | None) -> Condition:
        source = self.value(node.source)
        join = sa.or_ if node.kind == "any" else sa.and_
        if source.items is not None:
            kept = source.items[: values.MOST_LOOKED_AT]
            return join(
                sa.false() if node.kind == "any" else sa.true(),
                *(self._with(node.variable, item, node.condition, widen) for item in kept),
            )
        if source.raw is None:
            return sa.false()
        item = operators.elements(source.raw, self._name())
        condition = self._with(node.variable, of_json(item.c.value), node.condition, widen)
        found: sa.Select[Any] = (
            sa.select(sa.literal_column("1"))
            .select_from(item)
            .correlate_except(item)
            .where(item.c.place <= sa.literal_column(str(values.MOST_LOOKED_AT)))
        )
        if node.kind == "any":
            return sa.exists(found.where(condition))
        is_list = sa.func.coalesce(is_kind(source.raw, "array"), sa.false())
        return sa.and_(is_list, sa.not_(sa.exists(found.where(sa.not_(condition)))))

    def _with(
        self, name: str, value: Value | Happening, condition: Node, widen: bool | None
    ) -> Condition:
        with self._variable(name, value):
            return self.holds(condition, widen)

    def _did(self, call: Call, widen: bool | None) -> Condition:
        return self._histories.did(Past.of(call), self._counted(widen))

    def _in_segment(self, call: Call, widen: bool | None) -> Condition:
        name = str(_text(call.arguments[0]))
        if name in self._entered:
            raise ValueError(f"the segment {name} is made of itself")
        self._entered.append(name)
        outer, self._variables = self._variables, {}
        try:
            return self.holds(self._segments[name], widen)
        finally:
            self._entered.pop()
            self._variables = outer

    def _contains(self, call: Call, _: bool | None) -> Condition:
        whole, part = map(self.value, call.arguments)
        return operators.within(part, whole, self._name)

    def _starts_with(self, call: Call, _: bool | None) -> Condition:
        return operators.starts_with(*map(self.value, call.arguments))

    def _matches(self, call: Call, _: bool | None) -> Condition:
        pattern = patterns.translated(_text(call.arguments[1]))
        text = self.value(call.arguments[0]).text
        if text is None:
            return sa.false()
        found = operators.by_code_point(text).op("~", return_type=sa.Boolean())(
            sa.literal(pattern, sa.Text)
        )
        return sa.func.coalesce(found, sa.false())

    _conditions: Mapping[str, Callable[["Compiler", Call, bool | None], Condition]] = {
        "did": _did,
        "in_segment": _in_segment,
        "contains": _contains,
        "startswith": _starts_with,
        "matches": _matches,
    }

    # Values --------------------------------------------------------------------------------------

    def value(self, node: Node) -> Value:
        """Raises Inexact."""
        if not self._depends(node):
            return self._known(node)
        with self._higher():
            match node:
                case Path():
                    return self._path(node)
                case Access():
                    return self._into(self.value(node.base), node.keys)
                case Items():
                    items = tuple(map(self.value, node.items))
                    weight = sum(item.weight for item in items)
                    return Value(items=items, nullable=False, weight=1 + weight)
                case Negative():
                    return operators.multiply(self.value(node.operand), of_constant(-1))
                case Arithmetic():
                    return self._arithmetic(node)
                case Call() if node.function not in self._conditions:
                    return self._call(node)
            return Value(boolean=self.holds(node), nullable=False)

    def _known(self, node: Node) -> Value:
        """The value of what depends on nothing but the trigger."""
        found = compiled(node)(self._scope)
        if isinstance(found, Moment):
            raise Inexact
        return of_constant(found)

    def _depends(self, node: Node) -> bool:
        if isinstance(node, Path):
            return node.root in _CUSTOMERS_OWN or node.root in self._variables
        if isinstance(node, Call):
            function = FUNCTIONS[node.function]
            if function.history or node.function in ("in_segment", "days_since"):
                return True
        if isinstance(node, Quantifier):
            return self._depends(node.source) or self._depends_with(node)
        return any(self._depends(child) for child in node.children())

    def _depends_with(self, node: Quantifier) -> bool:
        hidden = self._variables
        self._variables = {k: v for k, v in hidden.items() if k != node.variable}
        try:
            return self._depends(node.condition)
        finally:
            self._variables = hidden

    def _path(self, path: Path) -> Value:
        variable = self._variables.get(path.root)
        if isinstance(variable, Happening):
            return self._into(_happened(variable), path.keys)
        if variable is not None:
            return self._into(variable, path.keys)
        if path.root == "now":
            return Value(instant=self._now_in_microseconds, nullable=False)
        whole = self._row.traits if path.root == "profile" else self._row.rfm
        return of_json(_stepped(whole, path.keys))

    def _into(self, value: Value, keys: tuple[Key, ...]) -> Value:
        if not keys:
            return value
        if value.event is not None:
            first = keys[0]
            if not first.quoted and first.value == "name":
                return _name_of(value) if len(keys) == 1 else NULL
            if not first.quoted and first.value == "context":
                return of_json(_stepped(value.event.context, keys[1:]))
            return of_json(_stepped(value.event.properties, keys))
        if value.items is not None:
            place = keys[0].value
            if type(place) is int and -len(value.items) <= place < len(value.items):
                return self._into(value.items[place], keys[1:])
            return NULL
        return NULL if value.raw is None else of_json(_stepped(value.raw, keys))

    def _arithmetic(self, node: Arithmetic) -> Value:
        left, right = self.value(node.left), self.value(node.right)
        if node.operator == "+" and isinstance(node.right, Constant):
            length = values.duration_of(node.right.value)
            if length is not None:
                column = of_constant(length).duration
                assert column is not None
                return operators.moved(left, right, column)
        return operators.ARITHMETIC[node.operator](left, right)

    def _call(self, call: Call) -> Value:
        if FUNCTIONS[call.function].history:
            of = call.argument("of")
            return self._histories.value(
                Past.of(call),
                self._counted(None),
                None if of is None else lambda event: self._of(of, event),
            )
        (argument,) = call.arguments
        if call.function == "days_since":
            return self._days_since(self.value(argument))
        work = {"len": operators.length_of, "lower": operators.lower}[call.function]
        return work(self.value(argument))

    def _days_since(self, value: Value) -> Value:
        since = operators.instant(value) if value.event is None else since_epoch(value.event.at)
        if since is None:
            return NULL
        days = operators.days_between(self._now_in_microseconds, since)
        return Value(number=days, weight=value.weight)

    def _of(self, node: Node, event: Happening) -> Value:
        with self._variable("e", event):
            return self.value(node)

    def _counted(self, widen: bool | None) -> Callable[[Node, Happening], Condition]:
        return lambda node, event: self._with("e", event, node, widen)

    # Bookkeeping ---------------------------------------------------------------------------------

    @contextmanager
    def _variable(self, name: str, value: Value | Happening) -> Iterator[None]:
        outer, self._variables = self._variables, {**self._variables, name: value}
        try:
            yield
        finally:
            self._variables = outer

    @contextmanager
    def _higher(self) -> Iterator[None]:
        if self._height > HIGHEST:
            raise Inexact
        self._height += 1
        try:
            yield
        finally:
            self._height -= 1

    def _name(self) -> str:
        self._names += 1
        return f"i{self._names}"


def _happened(event: Happening) -> Value:
    return Value(event=event, nullable=False)


def _name_of(value: Value) -> Value:
    assert value.event is not None
    name = of_constant(value.event.name)
    if not value.nullable or name.text is None:
        return name
    return Value(text=sa.case((value.event.at.is_not(None), name.text)))


def _text(node: Node) -> str:
    assert isinstance(node, Constant)
    return str(node.value)


def _stepped(whole: Column, keys: tuple[Key, ...]) -> Column:
    """`.x`, `["x"]`, `[0]`: jsonb's arrows mind, as the language does, what is a list."""
    for key in keys:
        if isinstance(key.value, int):
            if abs(key.value) >= _FURTHEST:
                return sa.null()
            whole = sa.func.dangol_item(whole, sa.literal(key.value, sa.Integer), type_=JSONB)
        else:
            whole = whole.op("->", return_type=JSONB())(of_constant(key.value).text)
    return whole
