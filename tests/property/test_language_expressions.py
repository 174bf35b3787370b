"""Whatever is written, an expression is a tree or a mistake, and a tree yields a value, soon."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from services.journey.core.flow import Moment, Scope
from services.journey.language.expressions import Mistake, check, expression, parse
from services.journey.language.expressions import context as contexts

STEPS = {"first-nudge": "send", "first-order": "wait_for"}
RUN = contexts.of_run_event("`exit`", STEPS)
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)

VOCABULARY = """
event trigger profile steps now rfm e p .x .price .name .context .first_nudge .outcome [0] [-1]
['x'] [ ] ( ) , = == != < <= > >= + - * / and or not in for null true false None 5 0 1.5 10000
'a' '7d' "2026-03-02" 'gold' any( all( len( lower( contains( startswith( matches( days_since(
count( within= where= of= first - nudge && || ! ; : % ** lambda if is __x__
"""
WORDS = st.sampled_from(VOCABULARY.split())
SENTENCES = st.lists(WORDS, max_size=40).map(" ".join) | st.lists(WORDS, max_size=40).map("".join)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10)
    | st.sampled_from(["7d", "1h", "2026-03-02", "2026-03-02T21:00:00+09:00", "0001-01-01", "gold"])
    | st.sampled_from(["9999-12-31T23:59:59-23:59", "2026-13-99"])
)
DATA = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)
FIELDS = st.dictionaries(st.sampled_from(["x", "price", "name", "context"]), DATA)
SCOPES = st.builds(
    lambda event, profile, step: Scope(
        now=NOW,
        profile=profile,
        event=None if event is None else Moment("Product Added", event, {"x": 1}),
        trigger=None if event is None else Moment("Product Added", event),
        steps={"first-nudge": step, "first-order": {"event": Moment("A", profile)}},
    ),
    event=st.none() | FIELDS,
    profile=FIELDS,
    step=FIELDS,
)


def _well_formed(text: str, mistake: Mistake) -> None:
    assert mistake.message
    assert 0 <= mistake.span.start < mistake.span.end
    assert mistake.span.start <= len(text)


@given(st.text(max_size=200) | SENTENCES)
@example("")
@example("\x00")
@example("\ud800")
@example("²")
@example("'\\")
@example("matches(event.x, '\\xff')")
@example("a" * 5_000)
def test_any_text_is_a_tree_or_mistakes(text: str) -> None:
    node = parse(text)
    mistakes = [node] if isinstance(node, Mistake) else check(node, RUN)
    for mistake in mistakes:
        _well_formed(text, mistake)


@given(SENTENCES, SCOPES)
def test_what_is_accepted_yields_a_value_of_the_language(text: str, scope: Scope) -> None:
    node = parse(text)
    if isinstance(node, Mistake) or check(node, RUN, "value"):
        return
    _assert_value(expression(text, node).evaluate(scope))


OPERANDS = st.sampled_from(
    [
        *("event.x", "profile.x", "now", "'7d'", "event.price", "null", "5", "0", "true"),
        *("[1, null]", "'2026-03-02'", "event.name", "profile.price", "steps.first_nudge.x"),
        *("-1.5", "'a'"),
    ]
)
OPERATORS = st.sampled_from(
    ["==", "!=", "<", "<=", ">", ">=", "in", "not in", "+", "-", "*", "/", "and", "or"]
)


@given(OPERANDS, OPERATORS, OPERANDS, OPERATORS, OPERANDS, SCOPES)
def test_every_operator_is_total(
    a: str, first: str, b: str, second: str, c: str, scope: Scope
) -> None:
    node = parse(f"({a} {first} {b}) {second} {c}")
    assert not isinstance(node, Mistake)
    _assert_value(expression("", node).evaluate(scope))


@given(DATA, DATA)
def test_equality_and_order_agree(a: Any, b: Any) -> None:
    def holds(operator: str) -> Any:
        node = parse(f"event.a {operator} event.b")
        assert not isinstance(node, Mistake)
        return expression("", node).evaluate(Scope(NOW, {}, Moment("X", {"a": a, "b": b})))

    assert not (holds("==") and holds("!="))
    assert not (holds("<") and holds(">="))
    assert holds("<=") == (holds("<") or (holds("==") and holds("<=")))
    assert holds("in") is not holds("not in")
    if a is None or b is None:
        assert not any(map(holds, ("<", "<=", ">", ">=")))
        assert holds("==") is not holds("!=")


@given(DATA, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), LEAVES)
def test_the_quick_ways_agree_with_the_slow_one(a: Any, operator: str, b: Any) -> None:
    """A comparison with a literal is compiled specially; with a name it is not."""
    if isinstance(b, str):
        literal = '"' + "".join(f"\\{c}" if c in '\\"' else c for c in b) + '"'
    elif b is None or isinstance(b, bool):
        literal = {None: "null", True: "true", False: "false"}[b]
    elif abs(b) > 10**15 or (isinstance(b, float) and "e" in repr(b)):
        return
    else:
        literal = repr(b)
    scope = Scope(NOW, {}, Moment("X", {"a": a, "b": b}))
    quick, slow = parse(f"event.a {operator} {literal}"), parse(f"event.a {operator} event.b")
    assert not isinstance(quick, Mistake)
    assert not isinstance(slow, Mistake)
    assert expression("", quick).evaluate(scope) == expression("", slow).evaluate(scope)


def _assert_value(value: Any) -> None:
    if isinstance(value, float):
        assert math.isfinite(value)
    elif isinstance(value, list):
        for item in value:
            _assert_value(item)
    else:
        allowed = (type(None), bool, int, str, dict, datetime, timedelta, Moment)
        assert isinstance(value, allowed)
