"""Conditions with the values they saw, and the sentences about them."""

from datetime import UTC, datetime, timedelta
from string import Formatter
from zoneinfo import ZoneInfo

import pytest

from services.console.explaining.answer import MOST_FACTS, answer_of
from services.console.explaining.checks import Check, check
from services.console.explaining.facts import Fact
from services.console.explaining.phrases import CHANNELS, NOTES, PHRASES
from services.console.explaining.replay import Explanation
from services.console.explaining.wording import Teller
from services.console.words import sentences
from services.journey.core.flow import Expression, Moment, Past, Scope, Segment
from services.journey.language.expressions import Node, expression, parse
from shared import channels
from shared.decisions import Reason, Refusal

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
EN = Teller("en", ZoneInfo("Asia/Seoul"))
KO = Teller("ko", ZoneInfo("Asia/Seoul"))


def condition(text: str) -> Expression:
    node = parse(text)
    assert isinstance(node, Node)
    return expression(text, node)


def seen(text: str, scope: Scope) -> Check:
    return check(condition(text), scope)


def scope(**properties: object) -> Scope:
    orders = (Past(NOW - timedelta(days=2), {"total": 5}), Past(NOW, {"total": 7}))
    return Scope(
        NOW,
        {"tier": "silver"},
        Moment("Added", properties),
        Moment("Viewed", {"sku": "A1"}),
        {"Bought": orders},
        segments={"vip": Segment("vip", condition('profile.tier == "gold"'), "")},
    )


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("event.price >= 10000", {"event.price": 8000}),
        ("event.price >= trigger.price", {"event.price": 8000, "trigger.price": None}),
        ('count("Bought", within="1d") > 1', {'count("Bought", within="1d")': 1}),
        (
            'sum("Bought", of=e.total, where=e.total > 1) > 1',
            {'sum("Bought", of=e.total, where=e.total > 1)': 12},
        ),
        ('last("Bought").total > 7', {'last("Bought").total': 7}),
        ('lower(profile.tier) == "gold"', {"profile.tier": "silver"}),
        ("len(event.items) > 2", {"len(event.items)": 2}),
        (
            'any(i.sku == "B" for i in event.items)',
            {"event.items": [{"sku": "A"}, {"sku": "C"}]},
        ),
        ('now < "2026-01-01"', {"now": "2026-03-02T12:00:00Z"}),
        ("not event.price", {"event.price": 8000}),
        ("event.price < event.price", {"event.price": 8000}),
    ],
)
def test_a_condition_tells_what_it_looked_at(text: str, values: dict[str, object]) -> None:
    given = scope(price=8000, items=[{"sku": "A"}, {"sku": "C"}])
    found = seen(text, given)
    assert {each.what: each.value for each in found.seen} == values
    assert found.holds is condition(text).holds(given)


def test_of_a_conjunction_only_the_part_that_fails_is_told() -> None:
    text = 'event.price > 1 and (profile.tier == "gold" or event.name == "Added") and event.x == 1'
    found = seen(text, scope(price=5))
    assert not found.holds
    assert [part.text for part in found.telling()] == ["event.x == 1"]
    assert [part.holds for part in found.parts] == [True, True, False]
    held = seen(
        'event.price > 1 and (profile.tier == "gold" or event.name == "Added")', scope(price=5)
    )
    assert [part.text for part in held.telling()] == ["event.price > 1", 'event.name == "Added"']


def test_a_segment_tells_what_it_asks() -> None:
    found = seen('in_segment("vip")', scope())
    assert EN.check(found) == (
        '`in_segment("vip")` does not hold. `profile.tier == "gold"` does not hold: the customer\'s'
        " tier was “silver”."
    )


def test_values_are_bounded() -> None:
    found = seen("event.items == event.text", scope(items=list(range(1000)), text="x" * 5000))
    items, text = found.seen
    assert len(items.value) == 20
    assert len(text.value) == 301
    assert len(EN.check(found)) < 400


def test_a_refusal_is_told_by_the_sentence_of_its_reason_and_by_its_numbers() -> None:
    detail = {
        "reason": "reentry",
        "version": 1,
        "rule": "3d",
        "last": "2026-03-01T12:00:00Z",
    }
    fact = Fact(NOW, "refused", detail=detail)
    assert EN.fact(fact) == (
        "The customer did not enter. The customer has been in the journey and may not enter again"
        " yet. The last entry was on 2026-03-01 21:00, and the rule is `reentry: 3d`."
    )
    assert KO.fact(fact).endswith("마지막 진입은 2026-03-01 21:00이고, 규칙은 `reentry: 3d`입니다.")


@pytest.mark.parametrize("reason", [*Reason, *Refusal])
@pytest.mark.parametrize("language", ["en", "ko"])
def test_every_reason_is_told_by_its_own_sentence(reason: str, language: str) -> None:
    teller = EN if language == "en" else KO
    sentence = sentences("en" if language == "en" else "ko")[reason]
    detail = {"reason": reason, "version": 1, "decision": "dropped", "channel": "email"}
    kind = "refused" if reason in set(Refusal) else "message"
    fact = Fact(NOW, kind, "a", {**detail, "passed_over": [], "on_record": True})
    assert sentence in teller.fact(fact)


def test_of_very_many_facts_the_newest_are_shown_and_all_are_counted() -> None:
    entered = Fact(NOW - timedelta(days=9), "entered", detail={"version": 1, "key": ""})
    others = [Fact(NOW, "restarted", f"s{number}") for number in range(MOST_FACTS)]
    found = Explanation(
        "u1", "u1", (), None, "cart", "active", ZoneInfo("UTC"), (entered, *others), (), ()
    )
    answer = answer_of(found, "en")
    assert [fact.step for fact in answer.facts] == [fact.step for fact in others]
    assert answer.summary[0].startswith("The customer entered this journey once.")
    assert [note.text for note in answer.notes] == ["The newest 1,000 of 1,001 facts are shown."]


def test_a_whole_number_is_written_as_one() -> None:
    assert EN.fact(Fact(NOW, "goal", detail={"value": 38000.0})).endswith("value 38,000.")
    assert EN.fact(Fact(NOW, "goal", detail={"value": 0.5})).endswith("value 0.5.")
    assert EN.fact(Fact(NOW, "goal", detail={"value": None})) == "The goal was reached."


def test_a_particle_fits_its_word() -> None:
    def merged(name: str) -> str:
        return KO.fact(Fact(NOW, "linked", detail={"id": name, "to": "u1"}))

    assert merged("손님") == "손님이 고객 u1의 ID로 확인되었습니다."
    assert merged("누나").startswith("누나가 ")


def test_every_channel_has_a_name_for_people() -> None:
    assert {*channels.CHANNELS} <= CHANNELS.keys()
    detail: dict[str, object] = {
        "decision": "sent", "channel": "alimtalk", "reason": None, "passed_over": [],
    }  # fmt: skip
    fact = Fact(NOW, "message", "hi", detail)
    assert KO.fact(fact) == "hi 단계의 메시지가 발송되었습니다(알림톡)."
    assert EN.fact(fact) == "The message of hi was sent (AlimTalk)."
    passed = {**detail, "passed_over": [{"channel": "email", "reason": "no_address"}]}
    assert "이메일은 건너뛰었습니다: " in KO.fact(Fact(NOW, "message", "hi", passed))


def test_a_template_that_failed_names_the_rule_that_it_breaks() -> None:
    rule = "kr-marketing/push-refusal"
    detail: dict[str, object] = {
        "decision": "dropped", "channel": "push", "reason": "template_error", "passed_over": [],
        "why": rule,
    }  # fmt: skip
    fact = Fact(NOW, "message", "hi", detail)
    assert EN.fact(fact).endswith(f"What failed: {rule}.")
    assert KO.fact(fact).endswith(f"걸린 것: {rule}.")


@pytest.mark.parametrize("table", [PHRASES, NOTES])
def test_both_languages_tell_the_same(table: dict[str, tuple[str, str]]) -> None:
    for kind, (english, korean) in table.items():
        names = [
            {name for _, name, _, _ in Formatter().parse(text) if name}
            for text in (english, korean)
        ]
        assert names[0] == names[1], kind
        assert korean != english, kind
