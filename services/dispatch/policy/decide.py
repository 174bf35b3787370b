"""The decision about one message: the whole list of policies, in the page's order, as one function.

run still live (a message that is still open is live) → held out → consent → suppression → address
→ quiet hours → frequency cap. What follows (the channel's rate, rendering, sending) is the
dispatcher's. `transactional` skips holdout, consent, complaints, quiet hours and caps; a hard
bounce (scope `all`) stops it too.

The channels are tried in order. Consent, suppression and a missing address lead to the next one,
and so do a cap or quiet hours of which every rule in force names channels; any other block ends
the search. Where no channel can be used but a passed-over one would only have held the message,
it is held for that one: an `else` never makes a message worse off.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from services.dispatch.policy.caps import cap_block
from services.dispatch.policy.lawful import is_exempt, is_too_young
from services.dispatch.policy.quiet import both, law_block, quiet_block
from services.dispatch.policy.values import (
    Block,
    Contact,
    Drop,
    Hold,
    Message,
    PassedOver,
    Place,
    SendBy,
    Verdict,
)
from shared.decisions import Reason
from shared.packs import caps_of
from shared.workspace import Policies

PROMPT = timedelta(minutes=1)
"""How late a dispatcher may come to a hold that ended in time before the message is expired."""


def order_key(message: Message) -> tuple[datetime, int, str, str, datetime, str]:
    """One customer's messages are decided in ascending order of this key.

    Of one step's messages for several keys, the one that has waited longer is first.
    """
    return (
        *(message.decidable_at, -message.priority, message.journey, message.step),
        *(message.created_at, message.id),
    )


def decide(
    message: Message,
    contact: Contact,
    policies: Policies,
    now: datetime,
    counted: Sequence[Place],
) -> Verdict:
    """Send it, hold it until an instant, or drop it with a reason. Pure and total.

    Quiet hours are judged at `now`; caps at the message's `decidable_at`, against `counted`, the
    customer's places (its own, from an earlier attempt, is ignored). `Hold.until` is later than
    the instant it was judged at.
    """
    if message.held_out and message.category != "transactional":
        return Drop(Reason.HELD_OUT, message.channels[0])
    if _expired(message, policies, now):
        return Drop(Reason.EXPIRED, _first_open(message), message.failed)
    failed = dict(message.failed)
    others = [place for place in counted if place.message_id != message.id]
    passed: list[PassedOver] = []
    waiting: tuple[str, Block] | None = None
    for channel in message.channels:
        answer = (
            Block(failed[channel], None, goes_on=True)
            if channel in failed
            else _stands_in_the_way(message, contact, policies, channel, now, others)
        )
        if answer is None:
            counts = message.category != "transactional"
            return SendBy(channel, contact.addresses[channel], counts, tuple(passed))
        sooner = answer.until is not None and (waiting is None or _earlier(answer, waiting[1]))
        if not answer.goes_on and (sooner or answer.until is None):
            return _blocked(message, policies, now, channel, answer, passed)
        if sooner:
            waiting = (channel, answer)
        passed.append(PassedOver(channel, answer.reason))
        if not answer.goes_on:
            break
    if waiting is not None:
        others_passed = [p for p in passed if p.channel != waiting[0]]
        return _blocked(message, policies, now, *waiting, others_passed)
    last = passed.pop()
    return Drop(last.reason, last.channel, tuple(passed))


def _first_open(message: Message) -> str:
    failed = {channel for channel, _ in message.failed}
    return next((c for c in message.channels if c not in failed), message.channels[-1])


def _stands_in_the_way(
    message: Message,
    contact: Contact,
    policies: Policies,
    channel: str,
    now: datetime,
    others: Sequence[Place],
) -> Block | None:
    marketing = message.category != "transactional"
    reason = _barred(message, contact, policies, channel, now)
    if reason is not None:
        return Block(reason, None, goes_on=True)
    if not marketing:
        return None
    quiet = quiet_block(policies.quiet_hours, message.category, channel, now, contact.zone)
    if policies.packs:
        law = law_block(policies.packs, channel, contact, now)
        quiet = both(quiet, law)
    return quiet or cap_block(
        caps_of(policies), message.category, channel, message.decidable_at, others
    )


def _barred(
    message: Message, contact: Contact, policies: Policies, channel: str, now: datetime
) -> Reason | None:
    """Consent, suppression, address: none of them gets better by waiting."""
    marketing = message.category != "transactional"
    if marketing:
        granted = contact.consents.get(channel)
        if granted is False:
            return Reason.UNSUBSCRIBED
        if granted is None and policies.consent == "required":
            asks = not policies.existing_customers
            if asks or not is_exempt(policies, message.journey, channel, contact, now):
                return Reason.NO_CONSENT
        if policies.packs and is_too_young(policies, contact, now):
            return Reason.NO_CONSENT
    scope = contact.suppressed.get(channel)
    if scope == "all" or (scope == "marketing" and marketing):
        return Reason.SUPPRESSED
    if channel not in contact.addresses:
        return Reason.NO_ADDRESS
    return None


def _earlier(one: Block, other: Block) -> bool:
    assert one.until is not None
    assert other.until is not None
    return one.until < other.until


def _blocked(
    message: Message,
    policies: Policies,
    now: datetime,
    channel: str,
    block: Block,
    passed: Sequence[PassedOver],
) -> Verdict:
    """The hold or the drop that a block means; a hold lasts no longer than `expire_after`."""
    if block.until is None:
        return Drop(block.reason, channel, tuple(passed))
    until = block.until
    if policies.expire_after is not None:
        expires = message.created_at + policies.expire_after
        if until > expires:
            if max(now, message.decidable_at) >= expires:
                return Drop(Reason.EXPIRED, channel, tuple(passed))
            until = expires
    return Hold(until, block.reason, channel, tuple(passed))


def _expired(message: Message, policies: Policies, now: datetime) -> bool:
    """A held message is older than `expire_after`, by more than our own lateness.

    A hold that was cut short at the expiry is not caught here at its end: it goes through the list
    once more, and is dropped as expired where it would be held still.
    """
    if policies.expire_after is None or not message.was_held:
        return False
    expires = message.created_at + policies.expire_after
    return now > max(expires, message.decidable_at + PROMPT)
