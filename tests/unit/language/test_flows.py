"""What a journey file is compiled to: flat steps with their ways on, closures, entry, exits."""

from datetime import timedelta

import pytest

from services.journey.core.flow import Branch, Call, Exit, Send, Wait
from services.journey.language.compile import JourneyRefused, compile_journey
from tests.unit.language.sayings import flow_of, journey, scope

NESTED = journey(
    """\
    - wait: 1h30m
    - branch:
        - when: profile.tier == "gold"
          steps:
            - {send: sms, template: hello, else: [email], id: regular}
            - branch:
                - {when: trigger.price > 5, steps: [{exit: rich}]}
        - when: profile.tier == "none"
          steps: []
        - otherwise:
            - wait: 1d
    - {send: email, template: hello}
    """
)


def test_nesting_becomes_ways_on() -> None:
    flow = flow_of(NESTED)
    assert flow.first == "wait-1"
    assert list(flow.steps) == [
        *("wait-1", "branch-2", "regular", "branch-2-1-2", "exit-2-1-2-1-1", "wait-2-3-1", "send-3")
    ]
    assert {name: step.next for name, step in flow.steps.items()} == {
        "wait-1": "branch-2",
        "branch-2": "send-3",
        "regular": "branch-2-1-2",
        "branch-2-1-2": "send-3",
        "exit-2-1-2-1-1": "send-3",
        "wait-2-3-1": "send-3",
        "send-3": None,
    }
    outer, inner = flow.steps["branch-2"], flow.steps["branch-2-1-2"]
    assert isinstance(outer, Branch)
    assert isinstance(inner, Branch)
    assert [arm.first for arm in outer.arms] == ["regular", "send-3", "wait-2-3-1"]
    assert [arm.when is None for arm in outer.arms] == [False, False, True]
    assert [arm.first for arm in inner.arms] == ["exit-2-1-2-1-1"]


def test_steps_keep_what_they_say() -> None:
    flow = flow_of(NESTED)
    assert flow.steps["wait-1"] == Wait("wait-1", "branch-2", timedelta(hours=1, minutes=30))
    assert flow.steps["exit-2-1-2-1-1"] == Exit("exit-2-1-2-1-1", "send-3", "rich")
    send = flow.steps["regular"]
    assert isinstance(send, Send)
    assert (send.channels, send.template) == (("sms", "email"), "hello")


def test_conditions_are_compiled() -> None:
    branch = flow_of(NESTED).steps["branch-2"]
    assert isinstance(branch, Branch)
    when = branch.arms[0].when
    assert when is not None
    assert when.source == 'profile.tier == "gold"'
    assert when.holds(scope(profile={"tier": "gold"}))
    assert not when.holds(scope(profile={}))


def test_values_are_expressions_only_where_they_look_like_one() -> None:
    flow = flow_of(
        journey(
            """\
            - send: email
              template: hello
              id: s
              with:
                price: trigger.price
                double: trigger.price
                name: lower(profile.name)
                moment: now
                quoted: "trigger.price"
                word: gold
                sentence: now and then
                number: 10
                nothing: null
                list: [trigger.price, 1]
                map: {a: true}
            """
        )
    )
    send = flow.steps["s"]
    assert isinstance(send, Send)
    names = scope(trigger={"price": 5}, profile={"name": "KIM"})
    assert {name: value.evaluate(names) for name, value in send.values.items()} == {
        "price": 5,
        "double": 5,
        "name": "kim",
        "moment": names.now,
        "quoted": "trigger.price",
        "word": "gold",
        "sentence": "now and then",
        "number": 10,
        "nothing": None,
        "list": ["trigger.price", 1],
        "map": {"a": True},
    }


def test_the_top_of_the_file_is_compiled() -> None:
    flow = flow_of(
        """\
        journey: j
        title: 장바구니
        category: transactional
        priority: 70
        trigger: {event: Product Added, where: event.price >= 10000}
        entry:
          key: event.cart_id
          when_active: restart
          reentry: 3d
          where: profile.email != null
          max_age: 1h
          holdout: 12.5%
        exit:
          - event: Order Completed
            where: event.cart_id == trigger.cart_id
          - event: Cart Emptied
        steps: [{exit: done}]
        """
    )
    assert (flow.journey, flow.title, flow.category) == ("j", "장바구니", "transactional")
    assert (flow.priority, flow.version) == (70, 0)
    (trigger,) = flow.triggers
    assert trigger.event == "Product Added"
    assert trigger.where is not None
    assert trigger.where.holds(scope({"price": 10000}))
    entry = flow.entry
    assert (entry.when_active, entry.reentry) == ("restart", timedelta(days=3))
    assert (entry.max_age, entry.holdout) == (timedelta(hours=1), 0.125)
    assert entry.key is not None
    assert entry.key.evaluate(scope({"cart_id": "c1"})) == "c1"
    assert entry.where is not None
    assert not entry.where.holds(scope(profile={}))
    assert [match.event for match in flow.exits] == ["Order Completed", "Cart Emptied"]
    assert flow.exits[1].where is None


def test_what_is_left_out_has_the_page_s_defaults() -> None:
    flow = flow_of(journey("- exit: done"))
    assert (flow.category, flow.priority, flow.title) == ("marketing", 50, "")
    assert (flow.entry.when_active, flow.entry.reentry) == ("ignore", "always")
    assert (flow.entry.max_age, flow.entry.holdout) == (timedelta(hours=24), 0.0)
    assert flow.entry.key is None
    assert flow.exits == ()


def test_any_of_several_events_triggers() -> None:
    flow = flow_of(journey("- exit: x", trigger="{any: [{event: A}, {event: B}]}"))
    assert [match.event for match in flow.triggers] == ["A", "B"]


@pytest.mark.parametrize(("text", "reentry"), [("always", "always"), ("never", "never")])
def test_reentry_may_be_a_word(text: str, reentry: str) -> None:
    assert (
        flow_of(journey("- exit: x", top=f"entry: {{reentry: {text}}}\n")).entry.reentry == reentry
    )


def test_a_call_keeps_its_address_and_what_it_gives_along() -> None:
    steps = """\
        - {call: "https://shop.example/stock?a=1", with: {sku: trigger.sku, n: 3}, id: ask}
        - {call: "https://shop.example/", timeout: 20s, id: tell}
        """
    ask, tell = flow_of(journey(steps)).steps.values()
    assert isinstance(ask, Call)
    assert isinstance(tell, Call)
    assert (ask.url, ask.next, ask.timeout) == (
        "https://shop.example/stock?a=1",
        "tell",
        timedelta(seconds=10),
    )
    values = {name: value.evaluate(scope({"sku": "A1"})) for name, value in ask.values.items()}
    assert values["n"] == 3
    assert tell.timeout == timedelta(seconds=20)


def test_one_stored_version_compiles_by_itself() -> None:
    source = journey("- {send: webhook, template: gone, id: s}")
    flow = compile_journey(source, 7)
    assert (flow.journey, flow.version, flow.first) == ("j", 7, "s")


@pytest.mark.parametrize(
    "source", ["", "journey: j", journey("- wait: soon"), journey("- call: shop.example")]
)
def test_one_version_that_does_not_compile_says_all_that_is_wrong(source: str) -> None:
    with pytest.raises(JourneyRefused) as refused:
        compile_journey(source, 1)
    assert refused.value.problems
    assert str(refused.value)
