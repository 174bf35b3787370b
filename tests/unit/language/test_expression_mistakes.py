"""What is refused in an expression: where the caret stands, what is said, how it is mended."""

import pytest

from services.journey.language.expressions import context as contexts
from services.journey.language.expressions.syntax import Node
from tests.unit.language.sayings import RUN, mistake, mistakes, parsed

# A caret in each text marks where the mistake begins.


def _split(marked: str) -> tuple[str, int]:
    at = marked.index("▲")
    return marked.replace("▲", "", 1), at


@pytest.mark.parametrize(
    ("marked", "message", "hint"),
    [
        ("event.a ▲&& event.b", "`&&`", "write `and`"),
        ("event.a ▲|| event.b", "`||`", "write `or`"),
        ("event.a ▲= 5", "`=` compares nothing", "write `==`"),
        ("event.a ▲=== 5", "`===`", "write `==`"),
        ("event.a ▲!== 5", "`!==`", "write `!=`"),
        ("event.a ▲<> 5", "`<>`", "write `!=`"),
        ("▲!event.a", "`!`", "write `not`"),
        ("event.a ▲≥ 5", "`≥`", "write `>=`"),
        ("event.a >= ▲= 5", "`>= =`", "write `>=`"),
        ("event.a == ▲“x”", "typographic", "straight"),
        ("event.a == ▲'x", "never closed", "end the text with '"),
        ("event.a == ▲７", "`７` has no meaning", "write `7`"),
        ("event.a ▲** 2 > 1", "powers", "multiply"),
        ("event.a ▲// 2 > 1", "`//`", "divide with `/`"),
        ("event.a ▲% 2 == 1", "`%`", "0.1"),
        ("event.a == 1▲; event.b", "`;`", "`and`"),
        ("(event.a ▲:= 5)", "assigned", "`==`"),
        ("▲lambda x", "cannot be made", "any("),
        ("▲f'{event.a}' == 'x'", "letters before a quote", "leave `f` out"),
        ("event.a ▲if event.b else 5", "`if`", "branch"),
        ("event.a ▲is null", "`is`", "`==`"),
        ("event.a ▲AND event.b", "`AND`", "write `and`"),
        ("▲NOT event.b", "`NOT`", "write `not`"),
        ("event.a == ▲TRUE", "`TRUE`", "write `true`"),
        ("event.a == ▲NULL", "`NULL`", "write `null`"),
        ("event.a ▲like 'x'", "`like`", "contains"),
        ("event.a ▲contains 'x'", "`contains`", "contains("),
        ("event.a ▲between 1", "`between`", "1 <= x <= 5"),
        ("▲import os", "imported", ""),
        ("▲__class__ == 1", "begin with `__`", ""),
        ("event.▲__class__ == 1", "begin with `__`", ""),
        ("event[▲'__class__'] == 1", "begin with `__`", ""),
        ("event.name.lower▲() == 'x'", "before what they work on", "write lower(…)"),
        ("event.name▲() == 'x'", "cannot be called", ""),
        ("[p ▲for p in event.list]", "`for` stands only", ""),
        ("len(p ▲for p in event.list)", "`for` stands only", ""),
        ("(p ▲for p in event.list)", "`for` stands only", ""),
        ("any(p for p in event.list ▲if p)", "`if` cannot stand", "join"),
        ("any(p for ▲5 in event.list)", "expected a name behind `for`", ""),
        ("any(p for p ▲of event.list)", "expected `in`", ""),
        ("▲(event.a == 1", "never closed", "add a `)`"),
        ("event.a in ▲[1, 2", "never closed", "add a `]`"),
        ("event▲[0", "never closed", "add a `]`"),
        ("event.a == 1▲)", "closes nothing", "leave it out"),
        ("event.a[▲event.b]", "a number or a text", "event.products[0]"),
        ("event.a[▲1.5]", "a number or a text", ""),
        ("event▲.", "expected a name behind the dot", ""),
        ("event. ▲a", "a space", ""),
        ("event.a >= ▲.5", "expected a value", "write 0.5"),
        ("event.a >= ▲+5", "expected a value", "no `+`"),
        ("event.a >= 10▲,000", "without commas", "10000"),
        ("event.a >= 10▲,500", "`,` cannot stand", "10000"),
        ("event.a in (1▲, 2)", "`,` cannot stand", "[a, b]"),
        ("event.a >= ▲7d", "`7d` is no number", '"7d"'),
        ("event.a >= ▲1h30m", "`1h30m` is no number", '"1h30m"'),
        ("event.a >= ▲1e999", "too large", ""),
        ("event.a >= ▲0." + "1" * 30, "too long", ""),
        ("event.a >= ▲007", "does not begin with 0", "quotes"),
        ("event.a >= ▲1234567890123456789", "too long", ""),
        ("event.a >= ▲", "ends where a value", ""),
        ("event.a >= ▲and event.b", "expected a value here and found `and`", ""),
        ("event.a ▲event.b", "expected an operator", ""),
        ("event.a == ▲not event.b", "`not` cannot stand here", "brackets"),
        ("event.a not ▲event.b", "expected `in` behind `not`", ""),
        ("▲", "a condition is missing", "event.price"),
        ("count('A', within='1d', ▲within='2d') > 1", "stands here twice", ""),
        ("count('A', within='1d', ▲5) > 1", "needs a name", ""),
    ],
)
def test_what_cannot_be_read_is_refused(marked: str, message: str, hint: str) -> None:
    text, at = _split(marked)
    found = mistake(text)
    assert found.span.start == at, found
    assert message in found.message
    assert hint in found.hint


@pytest.mark.parametrize(
    ("marked", "message", "hint"),
    [
        # names
        ("▲user.name == 'x'", "there is no `user`", "`profile`"),
        ("▲evnt.name == 'x'", "there is no `evnt`", "`event`"),
        ("▲price > 5", "there is no `price`", "event.price"),
        ("event.tier == ▲gold", "there is no `gold`", '"gold"'),
        ("▲event == 5", "`event` alone", "event.price"),
        ("▲steps == 5", "`steps` alone", "steps.first_nudge.outcome"),
        ("event▲[0] == 5", "no list", "name a field"),
        ("event.name.▲x == 5", "has no fields", ""),
        ("now.▲x == 5", "an instant has no fields", ""),
        ("rfm.▲recncy > 1", "no `rfm.recncy`", "`recency`"),
        ("▲e.total > 1", "there is no `e`", ""),
        ("any(▲q.x == 1 for p in event.list)", "there is no `q`", ""),
        ("any(event.x == 1 for ▲event in event.list)", "meaning of its own", "`p`"),
        ("any(any(p == 1 for ▲p in p.x) for p in event.list)", "taken", ""),
        ("any(all(▲any(a == 1 for a in b) for b in c) for c in event.x)", "2 deep", ""),
        # steps
        ("steps.▲frist_nudge.outcome == 'sent'", "no step has the id `frist-nudge`", "first-nudge"),
        ("steps.▲first-nudge.outcome == 'sent'", "hyphen", 'steps["first-nudge"]'),
        ("steps.first_nudge.▲outcom == 'sent'", "no `outcom`", "`outcome`"),
        ("▲steps.first_nudge == 'sent'", "field of the step", "`outcome`"),
        ("steps.▲short_wait.outcome == 'x'", "leaves no result", ""),
        ("steps.first_nudge.outcome == ▲'delivered'", "never `delivered`", "`sent`"),
        ("steps.first_nudge.reason in [▲'quiet_hour', 'expired']", "never", "`quiet_hours`"),
        ("▲'send' == steps.first_nudge.outcome", "never `send`", "`sent`"),
        # functions
        ("▲lenght(event.x) > 1", "no function `lenght`", "`len`"),
        ("▲length(event.x) > 1", "no function `length`", "`len`"),
        ("▲open('x') == 1", "no function `open`", ""),
        ("▲len() > 1", "takes 1 argument", "len(event.products)"),
        ("▲contains(event.x)", "takes 2 arguments", "contains("),
        ("len(event.x, ▲a=5) > 1", "takes no `a=`", ""),
        ("len(▲5) > 1", "`len` needs", "len("),
        ("lower(▲[1]) == 'x'", "`lower` needs a text", ""),
        ("▲any(event.x)", "for each item", "for p in"),
        ("matches(event.x, ▲'(?=a)')", "cannot be read", "look-around"),
        ("matches(event.x, ▲'a(')", "cannot be read", ""),
        ("matches(event.x, ▲event.y)", "written out", ""),
        ("matches(event.x, ▲'((a{1000}){1000}){1000}')", "cannot be read", ""),
        # history
        ("count(▲event.x) > 1", "an event's name", 'count("Order Completed")'),
        ("count(▲'') > 1", "an event's name", ""),
        ("count('A', within=▲'fortnight') > 1", "no duration", "30d"),
        ("count('A', within=▲7) > 1", "duration in quotes", ""),
        ("count('A', within=▲'0d') > 1", "longer than nothing", ""),
        ("count('A', ▲withn='7d') > 1", "takes no `withn=`", "`within`"),
        ("count('A', ▲of=e.x) > 1", "takes no `of=`", ""),
        ("count('A', where=▲e.total + 1) > 1", "never hold", ""),
        ("count('A', where=▲f.total > 1) > 1", "there is no `f`", ""),
        ("▲sum('A') > 1", "needs `of=`", "of=e.total"),
        ("▲min(event.a, event.b) > 1", "takes 1 argument", ""),
        ("in_segment(▲5)", "needs a text", ""),
        ("in_segment(▲event.x)", "a segment's name stands here", ""),
        # kinds
        ("▲5", "never hold", "compare"),
        ("▲len(event.x)", "never hold", ""),
        ("▲event.price + 1", "never hold", ""),
        ("event.a == 'x' or ▲'y'", "never hold", 'in ["a", "b"]'),
        ("event.a and ▲5", "never hold", ""),
        ("not ▲5", "never hold", ""),
        ("event.x > 1 and ▲now", "never hold", ""),
        ("any(▲5 for p in event.x)", "never hold", ""),
        ("any(p == 1 for p in ▲5)", "needs a list", ""),
        ("▲1 < 'a'", "never holds", "no quotes"),
        ("▲event.name > 5", "a text is compared with a number", ""),
        ("▲true == 'true'", "never holds", "no quotes"),
        ("▲now > 5", "an instant is compared with a number", ""),
        ("▲now > 'abc'", "never holds", "2026-03-01"),
        ("▲now - '2026-01-01' > 'a week'", "never holds", "7d"),
        ("▲event.x > null", "more or less than null", "== null"),
        ("▲event.x < true", "not more or less", ""),
        ("▲[1] < event.x", "a list is not more or less", ""),
        ("event.x in ▲5", "needs a list", "[a, b]"),
        ("event.x in ▲null", "needs a list", ""),
        ("▲5 in event.name", "a text in a text", ""),
        ("▲true + 1 > 1", "always null", ""),
        ("▲'a' * 2 > 1", "always null", ""),
        ("▲now + now > now", "always null", ""),
        ("▲'a' + 1 > 1", "always null", ""),
        ("▲now - 5 > now", "always null", ""),
        ("▲'a' - '1d' > now", "always null", ""),
        ("▲event.name - 'a' > now", "always null", ""),
        ("(▲now - now) * (now - now) > 1", "always null", ""),
        ("▲1 / (now - now) > 1", "always null", ""),
        ("▲'7d' - now > now", "always null", ""),
        ("-▲'a' > 1", "needs a number", ""),
    ],
)
def test_what_means_nothing_is_refused(marked: str, message: str, hint: str) -> None:
    text, at = _split(marked)
    found = mistakes(text)
    assert found, text
    assert found[0].span.start == at, found
    assert message in found[0].message
    assert hint in found[0].hint


@pytest.mark.parametrize(
    "text",
    [
        'profile.tier in ["gold", "vip"] or trigger.price >= 100000',
        "event.cart_id == trigger.cart_id",
        'any(p.sku == "A1" for p in event.products)',
        'count("Order Completed", within="30d", where=e.total > 0 and e.sku == trigger.sku) > 2',
        'did("Order Completed") and not did("Refunded", within="7d")',
        'last("Order Completed").total > 5 and last("Order Completed").name == "x"',
        'sum("Order Completed", of=e.total, within="1w") >= 100000',
        'days_since(last("Order Completed")) > 30',
        'in_segment("vip") and rfm.recency >= 4 and rfm.segment == "champions"',
        "steps.first_order.event.total >= 100000",
        'steps["ask-stock"].response.items[0].left > 0',
        'steps.test_price.variant == "a"',
        "steps.first_nudge.opened",
        "profile.vip",
        'now - profile.signed_up_at > "7d"',
        'now > profile.expires_at - "3d"',
        '"2026-03-02" - "7d" < now and event.name - "7d" < now',
        '(now - event.x) * 2 > "7d" and 2 * (now - now) > "7d"',
        '(now - "2026-01-01") / (now - "2026-02-01") > 1.5',
        '"7d" + now > event.x and now - event.name > "1d"',
        '(now - "2026-01-01") + "1d" > "7d" and (now - now) / 2 < "7d"',
        "event.list[0].x == 1 and [1, 2][0] == 1",
        'last("A").context.ip == "x" and last("A")["name"] == "y"',
        "0 < event.total / event.count < 10",
        'event["이름"] == "단골" and event.가격 > 5',
        "event.in == 1 and event.null != 2",
        "len(event.products,) > 1 and event.x in [1, 2,]",
        "not event.a in [1]",
        "((((event.a == 1))))",
        "event.x\n  and event.y",
        'now - "7d" < event.x and event.x > now + "1d"',
        "event.a == 1" + " " * 3_988,
    ],
)
def test_what_the_page_shows_is_accepted(text: str) -> None:
    assert mistakes(text) == []


@pytest.mark.parametrize(
    ("context", "text", "hint"),
    [
        (contexts.of_trigger(), "trigger.x == 1", "write `event`"),
        (contexts.of_trigger(), "steps.a.outcome == 'sent'", "no step has run"),
        (contexts.of_entry(), "steps.a.outcome == 'sent'", "no step has run"),
        (contexts.of_step({}, after_event=False), "event.x == 1", "`trigger`"),
        (contexts.of_segment(), "event.x == 1", "known here are `profile`"),
        (contexts.of_segment(), "trigger.x == 1", "known here are `profile`"),
    ],
)
def test_a_name_out_of_place_is_refused(context: contexts.Context, text: str, hint: str) -> None:
    found = mistake(text, context)
    assert "is not known in" in found.message
    assert hint in found.hint


@pytest.mark.parametrize(
    ("context", "text"),
    [
        (contexts.of_trigger(), "event.x == profile.x"),
        (contexts.of_entry(), "event.x == trigger.x and profile.x != null"),
        (RUN, "event.x == trigger.x and steps.first_nudge.opened"),
        (contexts.of_step({}, after_event=True), "event.x == 1"),
        (contexts.of_segment(), "profile.x == 1 and count('A') > 1"),
        (contexts.of_audience(), 'did("A", within="30d", where=e.sku == trigger.sku)'),
    ],
)
def test_a_name_in_its_place_is_accepted(context: contexts.Context, text: str) -> None:
    assert mistakes(text, context) == []


def test_all_mistakes_are_told_in_order() -> None:
    found = mistakes("user.x == 1 and lenght(event.y) > 2 and 'a' > 5")
    assert [each.span.start for each in found] == [0, 16, 40]


def test_a_value_may_be_anything_and_a_number_only_a_number() -> None:
    assert mistakes("event.a + 1", expected="value") == []
    assert mistakes("event.total", expected="number") == []
    assert "a number is needed" in mistake("event.name", expected="number").message


def test_a_segment_is_looked_for_where_segments_are_known() -> None:
    text = 'in_segment("vp")'
    assert mistakes(text) == []
    found = mistake(text, RUN.with_segments(frozenset({"vip"})))
    assert found.code == "unknown_segment"
    assert "`vip`" in found.hint


@pytest.mark.parametrize(
    "text",
    [
        "(" * 3_000,
        "[" * 3_000,
        "not " * 900 + "a",
        "-" * 3_000 + "1",
        "event.a" + "[0]" * 900,
        "event.a" + ".x" * 1_900,
        "a+" * 1_900 + "a",
        "(a+" * 900 + "a" + ")" * 900,
        "len(" * 900 + "a" + ")" * 900,
        "a in [" + "1," * 1_900,
        "event.a == 1 or " * 200 + "x",
        "x" * 4_001,
        "'" + "\\" * 3_990,
        "any(p for p in " * 200 + "x" + ")" * 200,
    ],
)
def test_an_expression_out_of_all_bounds_is_a_mistake_and_no_failure(text: str) -> None:
    assert mistakes(text)


def test_a_long_chain_of_conditions_is_no_deep_tree() -> None:
    text = " or ".join(["event.a == 1"] * 250)
    assert mistakes(text) == []
    assert parsed(text).height == 3
    assert mistakes("1 < " * 900 + "2") == []


def test_heights_count_the_levels() -> None:
    node: Node = parsed("not (event.a == 1 + 2)")
    assert node.height == 4
