"""One claimed message on its way through dispatch, and what may become of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from services.dispatch.channels.port import Outcome, Outgoing
from services.dispatch.policy import Message, PassedOver, Place
from shared.decisions import Decision, Reason
from shared.templates.live import LiveCall, Question

REPORT = "report"
"""Who holds a message that its provider has taken and will tell of."""

_RESUMED = (None, "unknown", "retryable", "throttled", "broken_connection")


class Key(NamedTuple):
    partition: int
    id: str


class FailedAdapter(NamedTuple):
    """An adapter that has failed a message for good on a channel that has others."""

    channel: str
    reason: Reason
    adapter: str


class Earlier(NamedTuple):
    """An earlier attempt, as it was left."""

    channel: str
    adapter: str
    outcome: str | None
    token: str | None
    number: int = 0
    at: datetime | None = None


class Pending(msgspec.Struct, frozen=True):
    """A claimed message with what was stored of its customer when her lock was taken."""

    key: Key
    customer: str
    run_id: str
    message: Message
    template: str
    context: bytes
    attempts: int
    journey_paused: bool
    traits: Mapping[str, Any]
    consents: Mapping[str, bool]
    places: Sequence[Place]
    waits_for: str | None
    """The line of a rate that it stands in."""
    elsewhere: Sequence[Message]
    """The customer's other messages that are due and not in our hands now, undecided."""
    failed_adapters: tuple[FailedAdapter, ...] = ()
    earlier: Sequence[Earlier] = ()

    def failed_on(self, channel: str) -> frozenset[str]:
        """The adapters that have failed it on this channel for good."""
        return frozenset(f.adapter for f in self.failed_adapters if f.channel == channel)

    def bound_on(self, channel: str) -> str | None:
        """The adapter whose provider may have taken it already: no other may be asked."""
        unknown = [e for e in self.earlier if e.channel == channel and e.outcome == "unknown"]
        return unknown[-1].adapter if unknown else None

    @property
    def maybe_sent_on(self) -> str | None:
        """The channel on which nobody knows whether it was sent. One that has failed is known: a
        refusal counts only from a provider that knows what became of the first attempt."""
        failed = {passed.channel for passed in self.message.failed}
        lost = (e.channel for e in self.earlier if e.outcome in (None, "unknown"))
        return next((channel for channel in lost if channel not in failed), None)

    def unknown_by(self, channel: str, adapter: str) -> Earlier | None:
        """The first attempt by the adapter of which nobody knows what became."""
        for earlier in self.earlier:
            ours = (earlier.channel, earlier.adapter) == (channel, adapter)
            if ours and earlier.outcome in (None, "unknown"):
                return earlier
        return None

    def token_of(self, channel: str, adapter: str) -> str | None:
        """What the adapter has prepared for an earlier attempt."""
        tokens = [
            e.token
            for e in self.earlier
            if (e.channel, e.adapter) == (channel, adapter) and e.outcome in _RESUMED
        ]
        return tokens[-1] if tokens else None


class Attempt(msgspec.Struct, frozen=True):
    """A provider call: recorded first, made afterwards."""

    pending: Pending
    number: int
    adapter: str
    passed_over: tuple[PassedOver | FailedAdapter, ...]
    takes_place: bool
    outgoing: Outgoing


class Call(msgspec.Struct, frozen=True):
    """What became of a provider call."""

    outcome: Outcome
    finished_at: datetime
    provider_id: str | None = None
    detail: str = ""


class Change(msgspec.Struct, frozen=True):
    """What a message turns into: queued again, or decided. None leaves a column as it is."""

    key: Key
    customer: str
    run_id: str
    journey: str
    step: str
    number: int
    """The attempts it has when this is stored; any other number means it is no longer ours."""
    decision: Decision | None = None
    reason: Reason | None = None
    decided_at: datetime | None = None
    channel: str | None = None
    not_before: datetime | None = None
    decidable_at: datetime | None = None
    held_reason: Reason | None = None
    passed_over: tuple[PassedOver | FailedAdapter, ...] | None = None
    awaits: timedelta | None = None
    """The provider has taken it, and tells its fate by a report within this time."""
    gives_back: bool = False
    """Its place under the caps is free again."""
    waits_for: str | None = None
    """The line of a rate that it waits in; this one is written even if it is None."""
    why: str | None = None
    """What stands behind the reason, without anything of the customer's; written likewise."""
    call: Call | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A question to a template's live source that has no fresh answer yet."""

    question: Question
    call: LiveCall


@dataclass(slots=True)
class Plan:
    """What one group's deciding came to."""

    attempts: list[Attempt] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    """What live sources have to be asked, once this is stored."""


def decided(
    pending: Pending,
    number: int,
    now: datetime,
    decision: Decision,
    reason: Reason | None,
    channel: str,
    *,
    passed_over: tuple[PassedOver | FailedAdapter, ...] | None = None,
    why: str | None = None,
    call: Call | None = None,
) -> Change:
    return Change(
        pending.key,
        pending.customer,
        pending.run_id,
        pending.message.journey,
        pending.message.step,
        number,
        decision=decision,
        reason=reason,
        decided_at=now,
        channel=channel,
        passed_over=passed_over,
        gives_back=decision in ("dropped", "failed"),
        why=why,
        call=call,
    )


def in_line(pending: Pending, line: str) -> Change:
    """It waits for a place under a rate, or for an answer: all else of it stays as it is."""
    return Change(
        pending.key,
        pending.customer,
        pending.run_id,
        pending.message.journey,
        pending.message.step,
        pending.attempts,
        waits_for=line,
    )


def queued(
    pending: Pending,
    number: int,
    not_before: datetime,
    *,
    channel: str | None = None,
    decidable_at: datetime | None = None,
    held_reason: Reason | None = None,
    passed_over: tuple[PassedOver | FailedAdapter, ...] | None = None,
    gives_back: bool = False,
    why: str | None = None,
    call: Call | None = None,
) -> Change:
    return Change(
        pending.key,
        pending.customer,
        pending.run_id,
        pending.message.journey,
        pending.message.step,
        number,
        channel=channel,
        not_before=not_before,
        decidable_at=decidable_at,
        held_reason=held_reason,
        passed_over=passed_over,
        gives_back=gives_back,
        why=why,
        call=call,
    )


def waiting(
    pending: Pending, number: int, channel: str, awaits: timedelta, call: Call | None
) -> Change:
    """Taken by the provider; what becomes of it is told by a report, or by none in time."""
    return Change(
        pending.key,
        pending.customer,
        pending.run_id,
        pending.message.journey,
        pending.message.step,
        number,
        channel=channel,
        awaits=awaits,
        call=call,
    )
