"""The tracking plan: read, and what the workspace asks of events held to it."""

import pytest

from services.journey.language.problems import Problem
from tests.unit.language.sayings import SETTINGS, journey, load

PLAN = """\
mode: MODE
events:
  Product Added:
    properties:
      sku: {type: text, required: true}
      price: {type: number, required: true}
      products: list
      added_at: time
  Order Completed:
    description: Paid, not only placed.
    properties:
      total: number
      status: {type: text, values: [paid, pending]}
      address: object
  Signed Up:
"""


def said(source: str, mode: str = "enforce", **files: str) -> list[Problem]:
    plan = files.pop("plan", PLAN).replace("MODE", mode)
    more = {path.replace("__", "/") + ".yaml": text for path, text in files.items()}
    loaded = load({"journeys/j.yaml": source, "events.yaml": plan, **more})
    if mode == "warn":
        assert loaded.problems == ()
        assert set(loaded.flows) == {"j"}
    return list(loaded.problems or loaded.warnings)


def words(problems: list[Problem]) -> list[tuple[int, int, str, str]]:
    return [(p.line, p.column, p.code, p.source_line[p.caret :][: p.length]) for p in problems]


GOOD = journey(
    """
    - wait_for: {event: Order Completed, where: event.total >= trigger.price, timeout: 1d}
      id: order
      then:
        - branch:
            - when: event.address.city == "Seoul" and event.context.page.url != null
              steps: [{exit: in-seoul}]
    - branch:
        - when: steps.order.event.total > 0 and any(p.sku == "A" for p in trigger.products)
          steps: [{exit: ordered}]
    - emit: Nudged
      properties: {sku: trigger.sku}
    - send: email
      template: hello
      with: {since: trigger.added_at}
    """,
    trigger="{event: Product Added, where: event.price > 1 and event.name == 'Product Added'}",
    top="""
    entry:
      key: event.sku
      where: count("Product Added", within="7d", where=e.price > 1) < 3
    exit:
      - event: Nudged
        where: event.whatever == 1
      - event: Message Clicked
        where: event.link == "x"
    goal: {event: Order Completed, value: event.total}
    """,
)


@pytest.mark.parametrize("mode", ["warn", "enforce"])
def test_what_the_plan_lists_may_be_asked(mode: str) -> None:
    assert said(GOOD, mode) == []


@pytest.mark.parametrize("mode", ["warn", "enforce"])
@pytest.mark.parametrize(
    ("old", "new", "code", "word", "hint"),
    [
        ("{event: Product Added,", "{event: Product Aded,", "unknown_event", "Product Aded",
         "did you mean `Product Added`?"),
        ("event.price > 1 and", "event.prize > 1 and", "unknown_property", "prize",
         "did you mean `price`?"),
        ("key: event.sku", "key: event.skuu", "unknown_property", "skuu", "did you mean `sku`?"),
        ('count("Product Added"', 'count("Product Add"', "unknown_event", '"Product Add"',
         "did you mean `Product Added`?"),
        ("where=e.price", "where=e.cost", "unknown_property", "cost", ""),
        ("event: Message Clicked", "event: Message Click", "unknown_event", "Message Click",
         "did you mean `Message Clicked`"),
        ("value: event.total", "value: event.totl", "unknown_property", "totl",
         "did you mean `total`?"),
        ("goal: {event: Order Completed", "goal: {event: Ordered", "unknown_event", "Ordered", ""),
        ("event.total >= trigger.price", "event.total >= trigger.pryce", "unknown_property",
         "pryce", "did you mean `price`?"),
        ("event.address.city", "event.adress.city", "unknown_property", "adress",
         "did you mean `address`?"),
        ("steps.order.event.total > 0", "steps.order.event.sum > 0", "unknown_property", "sum", ""),
        ("in trigger.products", "in trigger.prods", "unknown_property", "prods", ""),
        ("since: trigger.added_at", "since: trigger.added", "unknown_property", "added",
         "did you mean `added_at`?"),
        ("event.price > 1 and", 'event.price > "1" and', "expression", 'event.price > "1"',
         "a number has no quotes"),
        ("event.address.city", "event.total.city", "expression", "city", ""),
    ],
)  # fmt: skip
def test_what_it_does_not_list_is_told_where_it_stands(
    mode: str, old: str, new: str, code: str, word: str, hint: str
) -> None:
    assert old in GOOD
    (problem,) = said(GOOD.replace(old, new), mode)
    assert (problem.file, problem.code) == ("journeys/j.yaml", code)
    assert problem.source_line[problem.caret :].startswith(word)
    assert problem.hint.startswith(hint)


def test_of_several_events_each_lends_its_properties() -> None:
    source = journey(
        "- branch: [{when: trigger.total > 1 or trigger.sku == 'A', steps: [{exit: x}]}]",
        trigger="{any: [{event: Product Added}, {event: Order Completed, where: event.sku == 1}]}",
    )
    assert words(said(source)) == [(2, 79, "unknown_property", "sku")]


def test_a_journey_without_an_event_knows_its_history_only() -> None:
    source = journey(
        """
        - branch:
            - when: last('Order Completed').totl > 1 and trigger.anything == 1
              steps: [{exit: x}]
        """,
        trigger="{api: true}",
    )
    assert words(said(source)) == [(5, 39, "unknown_property", "totl")]


def test_emitted_events_of_the_plan_hold_what_it_lists() -> None:
    source = journey("- emit: Order Completed\n  properties: {total: 3, sum: 4}")
    assert words(said(source)) == [(5, 28, "unknown_property", "sum")]


def test_a_changed_consent_and_receipts_are_known_besides_the_plan() -> None:
    for event in ("Consent Changed", "Message Clicked"):
        source = journey("- exit: x", trigger=f"{{event: {event}, where: event.channel == 'sms'}}")
        assert said(source) == []


def test_segments_and_the_score_are_held_to_it() -> None:
    found = said(
        journey("- exit: x"),
        segments__a="segment: a\nwhere: did('Order Complete') or"
        " sum('Order Completed', of=e.sum) > 1\n",
        dangol=SETTINGS + "rfm: {event: Order Completed, value: totals}\n",
    )
    assert [(p.file, p.code, p.hint) for p in found] == [
        ("dangol.yaml", "unknown_property", "did you mean `total`?"),
        ("segments/a.yaml", "unknown_event", "did you mean `Order Completed`?"),
        ("segments/a.yaml", "unknown_property", "there is `address`, `status`, `total`"),
    ]


def test_an_enforced_plan_takes_the_journey_back_that_breaks_it() -> None:
    files = {"journeys/j.yaml": GOOD.replace("key: event.sku", "key: event.skew")}
    loaded = load({**files, "events.yaml": PLAN.replace("MODE", "enforce")})
    assert loaded.flows == {}
    assert loaded.journeys == {}


@pytest.mark.parametrize(
    ("plan", "line", "column", "message"),
    [
        ("mode: strict\nevents: {}\n", 1, 7, "`strict` is not one of warn, enforce"),
        ("events:\n  A:\n    properties:\n      x: string\n", 4, 10,
         "`string` is not one of text, number, integer, boolean, time, list, object"),
        ("events:\n  A:\n    property:\n      x: text\n", 3, 5,
         "there is no field `property` here"),
        ("events:\n  A:\n    properties:\n      x: {required: true}\n", 4, 10,
         "`type` is missing here"),
        ("event:\n  A:\n", 1, 1, "`events` is missing here"),
        ("events:\n  A:\n  A:\n", 3, 3, "`A` stands here twice"),
    ],
)  # fmt: skip
def test_mistakes_in_the_plan_itself_are_located(
    plan: str, line: int, column: int, message: str
) -> None:
    found = said(journey("- exit: x"), plan=plan)
    assert (found[0].file, found[0].line, found[0].column) == ("events.yaml", line, column)
    assert message in found[0].message


def test_without_a_plan_anything_goes() -> None:
    assert (
        load({"journeys/j.yaml": GOOD.replace("key: event.sku", "key: event.skew")}).problems == ()
    )


def test_a_template_is_warned_of_what_its_events_do_not_hold() -> None:
    text = (
        "---\nsubject: x\n---\n<p>{{ trigger.prise }} {{ trigger.price }} {{ trigger.total }}</p>\n"
    )
    files = {"events.yaml": PLAN.replace("MODE", "enforce"), "templates/hello/email.liquid": text}
    source = journey("- send: email\n  template: hello", trigger="{event: Product Added}")
    loaded = load({**files, "journeys/j.yaml": source})
    assert loaded.problems == ()
    told = [(w.file, w.line, w.message, w.hint) for w in loaded.warnings]
    assert told == [
        ("templates/hello/email.liquid", 4,
         "the tracking plan knows no property `prise` of `Product Added`: it renders empty",
         "did you mean `price`?"),
        ("templates/hello/email.liquid", 4,
         "the tracking plan knows no property `total` of `Product Added`: it renders empty",
         "there is `added_at`, `price`, `products`, `sku`"),
    ]  # fmt: skip
    by_call = source.replace("journey: j", "journey: k").replace(
        "{event: Product Added}", "{api: true}"
    )
    assert load({**files, "journeys/j.yaml": source, "journeys/k.yaml": by_call}).warnings == ()
