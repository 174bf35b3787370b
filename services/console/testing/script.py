"""What a test has its customer do, as the events that ingest would have appended."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from services.console.simulation.lines import Gate, read_events
from services.console.simulation.stubs import Stub
from services.journey.core.flow import Call, Flow, OnDate, Schedule, Send
from services.journey.language.model.fields import Located
from services.journey.language.model.journey import JourneyTest, TestEvent, TestScore
from services.journey.language.problems import Problems, nearest
from services.journey.language.tree import Scalar
from shared.errors import BadInput
from shared.event import Event, scored_event
from shared.rfm import score_of
from shared.tracking import Judge

ANYBODY = "test-customer"
"""The customer of a test that gives neither `id` nor `anonymous_id`."""


@dataclass(frozen=True, slots=True)
class Script:
    events: tuple[Event, ...]
    start: datetime
    until: datetime | None
    """None: until nothing waits."""
    stubs: Mapping[tuple[str, str], Stub]
    """Journey and step to what that call, or its template's, is answered."""


def read_script(
    test: JourneyTest,
    flow: Flow,
    problems: Problems,
    judge: Judge | None = None,
    asking: frozenset[str] = frozenset(),
) -> Script:
    """The script; what cannot be played is left out and added to `problems`. `asking` are the
    templates that ask a live source."""
    start = test.at.astimezone(UTC)
    if not test.events and not isinstance(flow.plan, Schedule | OnDate):
        problems.add(
            test.node.spot,
            "`events` is missing here",
            "only a journey that the clock starts can be tested without any",
            code="test_event",
        )
    writer = _Writer(test, problems, judge)
    if test.customer.traits:
        writer.write(test.customer, start, type="identify", traits=test.customer.traits)
    if test.customer.rfm is not None:
        writer.score(test.customer.rfm, start)
    at = start
    for item in test.events:
        at = _moment(item, at, problems)
        logs_in = writer.becomes(item)
        if item.traits or (logs_in and item.event is None):
            writer.write(item, at, type="identify", traits=item.traits)
        if item.catalog is not None:
            name = item.catalog.text
            writer.write(item, at, type="catalog", event=name, properties=item.properties)
        if item.receipt is not None and item.channel is not None:
            writer.write(item, at, type="receipt", outcome=item.receipt, channel=item.channel.text)
        if item.event is not None:
            writer.write(
                item,
                at,
                type="track",
                event=item.event.text,
                properties=item.properties,
                context=item.context,
            )
    until = None if test.until is None else start + test.until
    if until is not None and until < at:
        problems.add(
            test.node.key_spot("until"),
            "the test ends before its last event",
            "`until` counts from the test's `at`",
            code="test_time",
        )
    _check_steps(test, flow, problems, asking)
    stubs = {
        (flow.journey, step): Stub(stub.status, stub.response) for step, stub in test.calls.items()
    }
    return Script(tuple(writer.events), start, until, stubs)


def _moment(item: TestEvent, before: datetime, problems: Problems) -> datetime:
    if item.at is None:
        return before if item.after is None else before + item.after
    at = item.at.astimezone(UTC)
    if at < before:
        problems.add(
            item.node.key_spot("at"),
            "this is earlier than the line before",
            "events are written in the order in which they happen",
            code="test_time",
        )
    return max(at, before)


class _Writer:
    """Events in the SDK wire format through ingest's own reading."""

    def __init__(self, test: JourneyTest, problems: Problems, judge: Judge | None) -> None:
        self._judge = judge
        self.events: list[Event] = []
        self._problems = problems
        who = test.customer
        names = {"userId": who.id, "anonymousId": who.anonymous_id}
        self._who = {name: word.text for name, word in names.items() if word is not None}
        self._who = self._who or {"userId": ANYBODY}

    def becomes(self, item: TestEvent) -> bool:
        """Notes who it is from this line on; whether somebody logs in with it."""
        before = self._who.get("userId")
        if item.anonymous is not None:
            self._who = {"anonymousId": item.anonymous.text}
        if item.user is not None:
            self._who = {"userId": item.user.text} | self._device()
        return item.user is not None and item.user.text != before

    def _device(self) -> dict[str, str]:
        return {name: word for name, word in self._who.items() if name == "anonymousId"}

    def score(self, given: TestScore, at: datetime) -> None:
        score = score_of(given.recency, given.frequency, given.monetary, at)
        customer = next(iter(self._who.values()))
        told = scored_event(customer=customer, score=score, at=at)
        self.events.append(msgspec.structs.replace(told, received_at=at))

    def write(self, item: Located, at: datetime, **fields: Any) -> None:
        stamp = at.isoformat()
        number = len(self.events) + 1
        given = {name: value for name, value in fields.items() if value != {}}
        stamps = {"messageId": f"test-{number}", "timestamp": stamp, "receivedAt": stamp}
        who = self._who
        if fields["type"] == "receipt":
            who = {"customer": next(iter(who.values()))}
        gate = Gate(self._judge)
        try:
            self.events += read_events([msgspec.json.encode(who | stamps | given)], gate)
        except BadInput as error:
            message = str(error).removeprefix("line 1: ")
            self._problems.add(item.node.spot, message, error.hint or "", code="test_event")
        for _line, why in gate.kept_out:
            self._problems.add(
                item.node.spot,
                f"events.yaml sets this event aside: {why}",
                "the tracking plan is enforced: mend the event, or the plan",
                code="test_event",
            )


def _check_steps(test: JourneyTest, flow: Flow, problems: Problems, asking: frozenset[str]) -> None:
    expect = test.expect
    named: list[Scalar | None] = [each.step for each in expect.sent or ()]
    named += [each.step for each in expect.decided or ()]
    named.append(None if expect.ended is None else expect.ended.step)
    for step in named:
        if step is not None and step.text not in flow.steps:
            problems.add(
                step.spot,
                f"the journey has no step `{step.text}`",
                nearest(step.text, flow.steps),
                code="unknown_step",
            )
    calls = [
        step.id
        for step in flow.steps.values()
        if isinstance(step, Call) or (isinstance(step, Send) and step.template in asking)
    ]
    for name, stub in test.calls.items():
        if name not in calls:
            problems.add(
                stub.node.spot,
                f"the journey has no call `{name[:60]}`",
                nearest(name, calls) or "a `send` is one where its template has a `call`",
                code="unknown_step",
            )
