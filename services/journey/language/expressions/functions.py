"""The functions of the language: their arguments, kinds and what they answer, in one table."""

from dataclasses import dataclass

from services.journey.language.expressions.kinds import Kind


@dataclass(frozen=True, slots=True)
class Function:
    usage: str
    """How it is written, for hints."""
    parameters: tuple[frozenset[Kind], ...]
    """The kinds that each argument may have."""
    result: Kind
    history: bool = False
    """Counts events: the first argument is an event's name, the rest is named."""
    of: bool = False
    """Needs `of=`, the value that is summed or compared."""


_TEXT = frozenset({Kind.TEXT})
_SOME = frozenset(Kind)


def _history(name: str, result: Kind, *, of: bool = False) -> Function:
    value = ", of=e.total" if of else ""
    return Function(f'{name}("Order Completed"{value})', (_TEXT,), result, history=True, of=of)


FUNCTIONS: dict[str, Function] = {
    "len": Function(
        "len(event.products)", (frozenset({Kind.LIST, Kind.TEXT, Kind.MAP}),), Kind.NUMBER
    ),
    "lower": Function("lower(event.sku)", (_TEXT,), Kind.TEXT),
    "contains": Function(
        'contains(event.name, "Order")', (frozenset({Kind.TEXT, Kind.LIST}), _SOME), Kind.BOOL
    ),
    "startswith": Function('startswith(event.sku, "A")', (_TEXT, _TEXT), Kind.BOOL),
    "matches": Function('matches(event.sku, "^A[0-9]+$")', (_TEXT, _TEXT), Kind.BOOL),
    "days_since": Function(
        "days_since(profile.birthday)",
        (frozenset({Kind.INSTANT, Kind.TEXT, Kind.EVENT}),),
        Kind.NUMBER,
    ),
    "in_segment": Function('in_segment("vip")', (_TEXT,), Kind.BOOL),
    "count": _history("count", Kind.NUMBER),
    "did": _history("did", Kind.BOOL),
    "first": _history("first", Kind.EVENT),
    "last": _history("last", Kind.EVENT),
    "sum": _history("sum", Kind.NUMBER, of=True),
    "avg": _history("avg", Kind.NUMBER, of=True),
    "min": _history("min", Kind.ANY, of=True),
    "max": _history("max", Kind.ANY, of=True),
}
QUANTIFIERS = ("any", "all")

ALIASES = {
    "length": "len",
    "size": "len",
    "lowercase": "lower",
    "downcase": "lower",
    "upper": "lower",
    "starts_with": "startswith",
    "includes": "contains",
    "has": "contains",
    "match": "matches",
    "regex": "matches",
    "endswith": "matches",
    "average": "avg",
    "mean": "avg",
    "segment": "in_segment",
    "exists": "did",
    "some": "any",
    "every": "all",
}
"""What people call them elsewhere."""
