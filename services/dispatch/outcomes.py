"""What a provider's answer makes of a message. Pure.

Sent, unknown, tried again later, on to the next channel, or failed: a channel that failed for good
is kept with its reason, and the message goes on to the channels behind it, if there are any.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from services.dispatch.channels.port import Outcome, Result
from services.dispatch.pending import Attempt, Call, Change, FailedAdapter, decided, queued, waiting
from services.dispatch.policy import PassedOver, retry_delay
from services.dispatch.policy.retry import LADDER
from shared.decisions import Reason

REPORT_WITHIN = timedelta(minutes=10)
"""A message whose provider has told nothing by then counts as sent."""
THROTTLED_FOR = timedelta(hours=24)
"""A provider that has been too busy for a message for so long is not asked again."""
LONGEST_DETAIL = 40_000
LONGEST_WISH = timedelta(hours=24)


TAKEN = frozenset({Outcome.ACCEPTED, Outcome.DELIVERED})
"""Outcomes that are the end, whatever the circumstances."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    now: datetime
    retries: int = 0
    """How many earlier attempts on this channel ended `retryable` or `unknown`."""
    retry_unknown: bool = False
    """The operator prefers two messages to none, or the provider deduplicates."""
    retry_until: datetime | None = None
    """Behind it the provider would take a repetition for a new message."""
    perhaps_sent: bool = False
    """An earlier attempt on this channel may have been taken, and the provider cannot tell: the
    message goes to nobody else."""
    paused_until: datetime | None = None
    """The end of the channel's pause, where the connection is broken."""
    others: tuple[str, ...] = ()
    """The channel's adapters that have not failed the message yet; none where one of them may
    have sent it."""


def change_after(attempt: Attempt, result: Result, so: Circumstances) -> Change:
    call = Call(
        result.outcome,
        so.now,
        _storable(result.provider_id) if result.provider_id is not None else None,
        _storable(result.detail[:LONGEST_DETAIL]),
    )
    outcome = result.outcome
    match outcome:
        case Outcome.ACCEPTED | Outcome.DELIVERED:
            return _taken(attempt, result, so, call)
        case Outcome.UNDELIVERABLE_ADDRESS:
            return _failed(attempt, Reason.UNDELIVERABLE, so, call)
        case Outcome.REJECTED_MESSAGE:
            return _failed(attempt, Reason.REJECTED, so, call)
        case Outcome.BROKEN_CONNECTION:
            return _broken(attempt, so, call)
        case Outcome.THROTTLED:
            if so.now - attempt.pending.message.decidable_at >= THROTTLED_FOR:
                return _failed(attempt, Reason.RETRIES_EXHAUSTED, so, call)
            used = min(attempt.number, len(LADDER))
            return _again(attempt, result, used, so, call)
        case Outcome.RETRYABLE:
            return _again(attempt, result, so.retries + 1, so, call)
        case Outcome.UNKNOWN:
            return _lost(attempt, result, so, call)
        case _:
            assert_never(outcome)


def _storable(said: str) -> str:
    """A provider may say what no column can hold: NUL, or half of a surrogate pair."""
    return said.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _taken(attempt: Attempt, result: Result, so: Circumstances, call: Call) -> Change:
    pending, number, channel = attempt.pending, attempt.number, attempt.outgoing.channel
    if result.outcome is Outcome.ACCEPTED and result.awaits_report:
        return waiting(pending, number, channel, REPORT_WITHIN, call)
    return decided(pending, number, so.now, "sent", None, channel, call=call)


def _broken(attempt: Attempt, so: Circumstances, call: Call) -> Change:
    pending, number = attempt.pending, attempt.number
    if so.others and so.paused_until is None:
        return queued(pending, number, so.now, call=call)  # another adapter of the channel
    until = so.paused_until or so.now + LADDER[0]
    return queued(
        pending,
        number,
        until,
        decidable_at=until,
        held_reason=Reason.CHANNEL_PAUSED,
        call=call,
    )


def _again(attempt: Attempt, result: Result, used: int, so: Circumstances, call: Call) -> Change:
    delay = retry_delay(used, attempt.pending.key.id)
    if delay is None:
        return _failed(attempt, Reason.RETRIES_EXHAUSTED, so, call)
    if result.retry_after is not None:
        delay = min(max(result.retry_after, timedelta(0)), LONGEST_WISH)
    return queued(attempt.pending, attempt.number, so.now + delay, call=call)


def _lost(attempt: Attempt, result: Result, so: Circumstances, call: Call) -> Change:
    """The answer is: asked for again where a repetition is known as one, and then in time."""
    if so.retry_unknown and so.retries < len(LADDER):
        again = _again(attempt, result, so.retries + 1, so, call)
        if so.retry_until is None or (again.not_before or so.now) < so.retry_until:
            return again
    return _unknown(attempt, so, call)


def _unknown(attempt: Attempt, so: Circumstances, call: Call) -> Change:
    channel = attempt.outgoing.channel
    return decided(attempt.pending, attempt.number, so.now, "unknown", None, channel, call=call)


def _failed(attempt: Attempt, reason: Reason, so: Circumstances, call: Call) -> Change:
    if so.perhaps_sent:
        return _unknown(attempt, so, call)
    if so.others and reason is not Reason.UNDELIVERABLE:
        # Another provider may do. The message stays on its channel and keeps its place.
        failed_by = FailedAdapter(attempt.outgoing.channel, reason, attempt.adapter)
        passed_over = (*attempt.passed_over, failed_by)
        return queued(attempt.pending, attempt.number, so.now, passed_over=passed_over, call=call)
    now, channels = so.now, attempt.pending.message.channels
    channel = attempt.outgoing.channel
    failed = {passed.channel for passed in attempt.pending.message.failed} | {channel}
    behind = channels[channels.index(channel) + 1 :]
    if all(other in failed for other in behind):
        return decided(attempt.pending, attempt.number, now, "failed", reason, channel, call=call)
    return queued(
        attempt.pending,
        attempt.number,
        now,
        decidable_at=now,
        passed_over=(*attempt.passed_over, PassedOver(channel, reason)),
        call=call,
    )
