"""Generators of customers, their histories and conditions, nasty ones among them."""

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from hypothesis import strategies as st

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)

# Customers -----------------------------------------------------------------------------------

TEXT_POOL = [
    *("gold", "vip", "", "5", "GOLD", "Äpfel", "ÄPFEL", "골드", "ΣΑΣ", "\U0001f600", "\uffff"),
    *("7d", "1h", "90m", "1d1h", "7D", " 7d", "4000d", "7d ", "\u0667d", "0s"),
    *("2026-03-02", "2026-03-01", "2026-02-23T12:00Z", "2026-03-02T21:00:00+09:00"),
    *("2026-13-99", "2024-02-29", "2025-02-29", "0001-01-01", "9999-12-31T23:59:59-23:59"),
    *("2026-03-02T11:59:59.999999999Z", "2026-03-02 12:00", "2026-03-02T24:00", "0000-01-01"),
    *("A1", "A12\n", "sku-77", "a\nb", "a.b", "\\d"),
]
WORDS = st.sampled_from(TEXT_POOL)
NUMBERS = (
    st.integers(-3, 12)
    | st.sampled_from([0.1, 0.2, 0.3, 0.5, -1.5, 5.0, 2**53 + 1, 2**53, 2**63 - 1, -(2**63)])
    | st.sampled_from([5e-324, 1e-300, 2.5e-310, 100.0, 1e17, 0.1, 99.99])
    | st.floats(-1e18, 1e18)
    | st.integers(-(2**63), 2**63 - 1)
)
HUGE = st.sampled_from([1e22, 1e300, -1e300, 1.7976931348623157e308, 10**400, 2**64])
LEAVES = (
    st.none()
    | st.booleans()
    | NUMBERS
    | WORDS
    | st.text(max_size=4).filter(lambda text: "\0" not in text)
)
KEYS = st.sampled_from(["a", "b", "c", "0"])
DATA = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.dictionaries(KEYS, LEAVES | DATA, max_size=4)
HUGE_FIELDS = st.dictionaries(KEYS, HUGE | LEAVES, max_size=4)


class Happened(NamedTuple):
    name: str
    at: datetime
    properties: dict[str, Any]
    context: dict[str, Any]


HISTORY = st.lists(
    st.builds(
        Happened,
        st.sampled_from(["A", "B"]),
        st.sampled_from([0, 1, 3_600, 86_399, 86_400, 86_401, 7 * 86_400, 40 * 86_400]).map(
            lambda seconds: NOW - timedelta(seconds=seconds)
        ),
        FIELDS,
        st.just({}) | FIELDS,
    ),
    max_size=5,
)
CUSTOMERS = st.lists(st.tuples(FIELDS, HISTORY), min_size=1, max_size=3)

# Conditions ----------------------------------------------------------------------------------

TEXTS = WORDS.map(lambda text: '"' + text.replace("\\", "\\\\").replace("\n", "\\n") + '"')
LITERALS = (
    st.sampled_from(["null", "true", "false", "0", "1", "5", "-1", "0.1", "0.3", "5.0", "2.5"])
    | st.sampled_from(["9007199254740993", "1e300", "'7d'", "'1d'", "'2026-03-02'"])
    | TEXTS
)
PATHS = st.sampled_from(
    [
        *("profile.a", "profile.b", "profile.c", "profile.a.b", "profile.a[0]", "profile.b[-1]"),
        *('profile["0"]', "profile.a[0].b", "profile.c[1][0]", 'profile.a["0"]', "trigger.a"),
        *("trigger.b.a", "event.name", "event.a"),
    ]
)
PATTERNS = st.sampled_from(
    [
        *(
            "^A[0-9]+$",
            "sku-\\d{2}",
            "g.l",
            "^(gold|vip)$",
            "a.b",
            "a\\.b",
            "[^a-z]",
            "\\w+",
            "\\W",
        ),
        *(
            "^$",
            "",
            "A+1?",
            "^\\s*7d\\s*$",
            "[\\d-]",
            "(?i)gold",
            "\\bgold",
            "\\pL",
            "[A-Z]",
            "\\D",
        ),
    ]
).map(lambda pattern: f'"{pattern}"')


@st.composite
def values(draw: st.DrawFn, depth: int = 2, own: str = "") -> str:
    kind = draw(st.integers(0, 13 if depth else 4))
    if kind <= 2:
        return draw(PATHS).replace("profile", draw(st.sampled_from(["profile", own or "profile"])))
    if kind == 3:
        return draw(LITERALS)
    if kind == 4:
        return "now"
    inner = values(depth - 1, own)
    if kind <= 6:
        operator = draw(st.sampled_from(["+", "-", "*", "/", "-"]))
        return f"({draw(inner)} {operator} {draw(inner)})"
    if kind == 7:
        return f"{draw(st.sampled_from(['len', 'lower', 'days_since', '-']))}({draw(inner)})"
    if kind == 8:
        return "[" + ", ".join(draw(st.lists(inner, max_size=3))) + "]"
    if kind == 9:
        return f"({draw(conditions(depth - 1, own))})"
    return draw(past_values(kind, depth))


@st.composite
def past_values(draw: st.DrawFn, kind: int, depth: int) -> str:
    if kind == 10:
        return f"days_since({draw(st.sampled_from(['first', 'last']))}({draw(counted(depth))}))"
    if kind == 11:
        function = draw(st.sampled_from(["sum", "avg", "min", "max"]))
        return f"{function}({draw(counted(depth))}, of={draw(values(min(depth - 1, 1), 'e'))})"
    if kind == 12:
        return f"count({draw(counted(depth))})"
    field = draw(st.sampled_from([".a", ".b", ".name", ".context.a", ".context", ".a[0]", ""]))
    return f"{draw(st.sampled_from(['first', 'last']))}({draw(counted(depth))}){field}"


@st.composite
def counted(draw: st.DrawFn, depth: int) -> str:
    parts = [f'"{draw(st.sampled_from(["A", "A", "B", "C"]))}"']
    if draw(st.booleans()):
        parts.append('within="' + draw(st.sampled_from(["1d", "7d", "1h", "30d"])) + '"')
    if draw(st.booleans()):
        parts.append(f"where={draw(conditions(min(depth - 1, 1), 'e'))}")
    return ", ".join(parts)


@st.composite
def conditions(draw: st.DrawFn, depth: int = 3, own: str = "") -> str:
    kind = draw(st.integers(0, 11 if depth > 0 else 4))
    a, b = values(max(depth - 1, 0), own), values(max(depth - 1, 0), own)
    if kind <= 2:
        operator = draw(st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "in", "not in"]))
        return f"{draw(a)} {operator} {draw(b)}"
    if kind == 3:
        return f"{draw(a)} <= {draw(b)} < {draw(a)}"
    if kind == 4:
        function = draw(st.sampled_from(["contains", "startswith"]))
        return f"{function}({draw(a)}, {draw(b)})"
    if kind == 5:
        return f"matches({draw(a)}, {draw(PATTERNS)})"
    inner = conditions(depth - 1, own)
    if kind <= 7:
        joined = draw(st.sampled_from(["and", "or"]))
        return f"({draw(inner)} {joined} {draw(inner)})"
    if kind == 8:
        return f"not ({draw(inner)})"
    if kind == 9:
        condition = draw(conditions(depth - 1, own or "p"))
        variable = "q" if own == "p" else "p"
        return f"{draw(st.sampled_from(['any', 'all']))}({condition} for {variable} in {draw(a)})"
    if kind == 10:
        return f"did({draw(counted(depth))})"
    return f'in_segment("{draw(st.sampled_from(["one", "two"]))}")'


SEGMENTS = {
    "one": 'profile.a == "gold" or did("A")',
    "two": 'in_segment("one") and profile.b != null',
}


# Every operator and function, each with everything -------------------------------------------

_OPERATORS = ("==", "!=", "<", "<=", ">", ">=", "in", "not in")
_BESIDE = (
    *("null", "true", "5", "0.3", "5.0", '"gold"', '"5"', '"2026-03-02"', '"7d"', '""', "now"),
    *("profile.b", "profile.a.b", "[profile.b, 5]", '["gold", "5", null]', "trigger.a", "[]"),
    *('now - "1d"', "now - profile.b", 'profile.b + "7d"', "[now]", '"goldfish"', "[[5]]"),
)
_ALONE = (
    *("profile.a", "not profile.a", "profile.a == profile.a", "profile.a[0] == 5"),
    *("profile.a[-1] != profile.a[0]", 'profile.a["0"] == profile.a[0]', "-profile.a < 0"),
    *("len(profile.a) == len(profile.b)", "len(profile.a) > 1", "days_since(profile.a) < 2"),
    *('lower(profile.a) == "gold"', "lower(profile.a) == lower(profile.b)"),
    "contains(profile.a, 5)",
    *("contains(profile.a, profile.b)", 'contains(profile.a, "o")', 'startswith(profile.a, "g")'),
    *("startswith(profile.a, profile.b)", "profile.a <= profile.b < profile.c"),
    *("any(p == 5 for p in profile.a)", "all(p != null for p in profile.a)"),
    *("any(p.b == profile.b for p in profile.a)", "all(p > 0 for p in [profile.a, profile.b])"),
    *("any(any(q == 5 for q in p) for p in profile.a)", "len(lower(profile.a)) > 2"),
    *("profile.a + profile.b == profile.c", "profile.a - profile.b < '7d'", "profile.a * 2 > 9"),
    *("profile.a / profile.b == profile.a", "profile.a + profile.b > profile.a"),
    *('profile.a + "7d" > now', "now - profile.a > '1d'", "0.1 + profile.a == 0.3"),
    "(now - profile.a) / (now - profile.b) > 1",
    *("profile.a * profile.b - profile.c / 3 > 0.5", "profile.a - 0.1 == profile.b"),
    *("(now - profile.a) * 2 > '2d'", "profile.a + profile.b == 'goldgold'", "'o' in profile.a"),
)  # fmt: skip
_SCORED = (
    *("rfm.recency >= 2", "rfm.frequency in [5, profile.a]", 'rfm.segment == "loyal"'),
    *("rfm.monetary == null", "rfm.monetary < 3 or rfm.segment != null", "rfm.recency == null"),
)
_PATTERNS = (
    *("^A[0-9]+$", "a.b", "[^a-z]", "^$", "\\W", "\\d", "sku-\\d{2}", "A+1?", "[A-Z]"),
    "^(gold|vip)$",
    *("^\\s", "\\s$", "[\\d-]", "[\\s.]", "g.l?d*?", "^.$", "o{1,2}l", "\\.", "x|"),
)  # fmt: skip
_COUNTED = (
    *('"A"', '"A", within="1d"', '"B", within="7d"', '"A", where=e.a == 5', '"C"'),
    *('"A", where=e.a == profile.a', '"B", where=e.context.a != null, within="30d"'),
    *('"A", where=any(p == 5 for p in e.a)', '"A", where=e.b', '"A", where=e.name == "A"'),
)
_OF = ("e.a", "e.b", "e.a * 1.5", "e.context.a", "profile.a", "1", "e.a + 0.1")


def shapes() -> list[str]:
    """A condition for each combination, so that no meaning is left to chance."""
    found = [f"profile.a {operator} {other}" for operator in _OPERATORS for other in _BESIDE]
    found += [f"{other} {operator} profile.a" for operator in _OPERATORS for other in _BESIDE[:11]]
    found += [*_ALONE, *_SCORED]
    found += [f'matches(profile.a, "{pattern}")' for pattern in _PATTERNS]
    for counted_ in _COUNTED:
        found += [f"did({counted_})", f"count({counted_}) > 1", f"count({counted_}) == 0"]
        for one in (f"first({counted_})", f"last({counted_})"):
            found += [f"days_since({one}) >= 1", f"{one} == null", f"{one}.a == profile.a"]
            found += [f"{one}.context.a == 5", f"{one}.context != null", f"{one}.name != null"]
        for of in _OF:
            for fold in ("sum", "avg", "min", "max"):
                call = f"{fold}({counted_}, of={of})"
                found += [f"{call} > 5", f"{call} in [profile.a, 0.6]"]
    return found
