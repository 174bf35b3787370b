"""Caps: whatever is due, in whatever order, no window ever holds more than its limit."""

import heapq
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from services.dispatch.policy import Contact, Drop, Hold, Message, Place, SendBy, decide, order_key
from shared.decisions import Category, Reason
from shared.workspace import FrequencyCap, Policies

START = datetime(2026, 4, 6, tzinfo=UTC)
CHANNELS = ("email", "sms", "push")
CONTACT = Contact(
    zone=ZoneInfo("Asia/Seoul"),
    addresses={"email": "a@shop.example", "sms": "+821012345678", "push": "t"},
)
MINUTE = timedelta(minutes=1)

channels = st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=3, unique=True).map(tuple)
categories: st.SearchStrategy[Category] = st.sampled_from(("marketing", "transactional"))
caps = st.builds(
    lambda category, names, limit, minutes, then: {
        "category": category,
        "channels": names,
        "limit": limit,
        "per": f"{minutes}m",
        "then": then,
    },
    st.sampled_from((None, "marketing")),
    st.lists(st.sampled_from(CHANNELS), max_size=2, unique=True),
    st.integers(1, 3),
    st.integers(1, 60),
    st.sampled_from(("drop", "hold")),
)


@st.composite
def policies(draw: st.DrawFn) -> Policies:
    return Policies.model_validate(
        {
            "consent": "assumed",
            "frequency_caps": draw(st.lists(caps, min_size=1, max_size=3)),
            "expire_after": draw(st.sampled_from((None, "10m", "1h"))),
        }
    )


@st.composite
def messages(draw: st.DrawFn) -> list[Message]:
    made = []
    for number in range(draw(st.integers(1, 12))):
        at = START + draw(st.integers(0, 90)) * MINUTE
        made.append(
            Message(
                id=f"m{number}",
                journey=draw(st.sampled_from("abc")),
                step=draw(st.sampled_from("xy")),
                category=draw(categories),
                priority=draw(st.integers(0, 2)),
                channels=draw(channels),
                created_at=at,
                decidable_at=at,
            )
        )
    return made


def run(due: Sequence[Message], rules: Policies) -> dict[str, tuple[datetime, SendBy | Drop]]:
    """Decide everything, as the dispatcher and the simulator do: held messages come back."""
    queue = [(order_key(message), message) for message in due]
    heapq.heapify(queue)
    places: list[Place] = []
    decided: dict[str, tuple[datetime, SendBy | Drop]] = {}
    while queue:
        _, message = heapq.heappop(queue)
        at = message.decidable_at
        verdict = decide(message, CONTACT, rules, at, places)
        if isinstance(verdict, Hold):
            assert verdict.until > at
            later = Message(
                message.id,
                message.journey,
                message.step,
                message.category,
                message.priority,
                message.channels,
                message.created_at,
                verdict.until,
                was_held=True,
            )
            heapq.heappush(queue, (order_key(later), later))
            continue
        decided[message.id] = (at, verdict)
        if isinstance(verdict, SendBy) and verdict.takes_place:
            places.append(Place(message.id, at, message.category, verdict.channel))
    return decided


def covered(rule: FrequencyCap, message: Message, verdict: SendBy) -> bool:
    return rule.category in (None, message.category) and (
        not rule.channels or verdict.channel in rule.channels
    )


@settings(max_examples=400, deadline=None)
@given(due=messages(), rules=policies())
def test_no_window_ever_holds_more_than_its_limit(due: list[Message], rules: Policies) -> None:
    decided = run(due, rules)
    assert decided.keys() == {message.id for message in due}
    by_id = {message.id: message for message in due}
    for rule in rules.frequency_caps:
        sent = [
            at
            for name, (at, verdict) in decided.items()
            if isinstance(verdict, SendBy)
            and by_id[name].category == "marketing"
            and covered(rule, by_id[name], verdict)
        ]
        for end in sent:
            assert sum(end - rule.per < at <= end for at in sent) <= rule.limit


@settings(max_examples=200, deadline=None)
@given(due=messages(), rules=policies(), data=st.data())
def test_the_order_in_which_messages_are_handed_over_changes_nothing(
    due: list[Message], rules: Policies, data: st.DataObject
) -> None:
    assert run(due, rules) == run(data.draw(st.permutations(due)), rules)


@settings(max_examples=300, deadline=None)
@given(due=messages(), rules=policies())
def test_a_message_is_capped_only_where_a_cap_is_full(due: list[Message], rules: Policies) -> None:
    """No message is lost to a cap without reason: each drop names a full window."""
    decided = run(due, rules)
    by_id = {message.id: message for message in due}
    for name, (at, verdict) in decided.items():
        message = by_id[name]
        if message.category == "transactional":
            assert isinstance(verdict, SendBy)
        if not isinstance(verdict, Drop) or verdict.reason is not Reason.FREQUENCY_CAP:
            continue
        before = [
            sent_at
            for other, (sent_at, other_verdict) in decided.items()
            if isinstance(other_verdict, SendBy)
            and other_verdict.takes_place
            and other != name
            and sent_at <= at
        ]
        assert any(
            sum(at - rule.per < sent_at <= at for sent_at in before) >= rule.limit
            for rule in rules.frequency_caps
            if rule.then == "drop"
        )


@settings(max_examples=300, deadline=None)
@given(due=messages(), rules=policies())
def test_a_held_message_is_sent_no_later_than_it_expires(
    due: list[Message], rules: Policies
) -> None:
    if rules.expire_after is None:
        return
    by_id = {message.id: message for message in due}
    for name, (at, verdict) in run(due, rules).items():
        expires = by_id[name].created_at + rules.expire_after
        assert at <= expires
        if isinstance(verdict, Drop) and verdict.reason is Reason.EXPIRED:
            assert at == expires
