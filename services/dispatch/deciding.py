"""One group's decisions: each customer's messages in their order, by the pure policies.

A message whose turn has not come (an earlier one of the same customer is due and in somebody else's
hands) is left as it is, and so are those behind it. A hold that is over already, because we come
late, is decided again at once, at its new place in the order; where that is behind one that is not
in our hands, the hold is stored. A message that may be sent is
rendered here: what cannot be rendered is dropped and never counts as an attempt.
"""

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import msgspec
import structlog

from services.dispatch import metrics
from services.dispatch.channels.port import Outgoing
from services.dispatch.doors.links import Links
from services.dispatch.pending import (
    Asked,
    Attempt,
    FailedAdapter,
    Key,
    Pending,
    Plan,
    decided,
    in_line,
    queued,
)
from services.dispatch.policy import (
    Contact,
    Drop,
    Hold,
    Message,
    PassedOver,
    Place,
    SendBy,
    decide,
    order_key,
)
from services.dispatch.rates import Gate
from services.dispatch.receipts.bounces.verp import ReturnPaths
from services.dispatch.render import Finished, Prepared, prepare
from services.dispatch.workspace import Workspace
from shared.decisions import Reason
from shared.images import Image, image_of
from shared.mail_complaints import MailPause
from shared.templates import RuleBroken, TemplateFailed, TemplateInvalid
from shared.templates.live import UNASKED, Answer

logger = structlog.get_logger()

_LONGEST_WHY = 300

Choose = Callable[[str, frozenset[str], str | None], str | datetime]
"""Channel, the adapters that have failed the message, and the one that may have sent it → the
adapter to send by, or the end of the channel's pause."""
AsksUntil = Callable[[str, str, datetime], datetime | None]
"""Channel, adapter and the instant of an attempt of which nobody knows what became → until when the
provider knows a repetition of it; None: always."""


def _always(_channel: str, _adapter: str, _at: datetime) -> datetime | None:
    return None


@dataclass(frozen=True, slots=True)
class Around:
    """What a group is decided in."""

    workspace: Workspace
    people: Mapping[Key, Contact]
    hashes: Mapping[Key, Mapping[str, str]]
    """Message → channel → the hash of the address there."""
    now: datetime
    choose: Choose
    links: Links | None
    returns: ReturnPaths | None
    gate: Gate = field(default_factory=Gate)
    answer: Callable[[str], Answer | None] = lambda _line: None
    """What a live source has said lately, by the question's line."""
    asks_until: AsksUntil = _always
    stopped: MailPause | None = None
    """Advertising mail waits, because too many complain about it."""


def decide_group(group: Sequence[Pending], around: Around) -> Plan:
    """Transactional messages first, then in deciding order: so they come to the rates' places."""
    plan = Plan()
    customers: dict[tuple[bool, int, str], list[Pending]] = {}
    for pending in sorted(group, key=_turn):
        if not pending.journey_paused:
            key = (_is_marketing(pending.message), pending.key.partition, pending.customer)
            customers.setdefault(key, []).append(pending)
    for messages in customers.values():
        _Customer(messages, around, plan).decide_all()
    return plan


def _is_marketing(message: Message) -> bool:
    return message.category != "transactional"


def _turn(pending: Pending) -> tuple[bool, tuple[datetime, int, str, str, datetime, str]]:
    return (_is_marketing(pending.message), order_key(pending.message))


class _Customer:
    """One customer's messages of one category: the others neither count for them nor wait."""

    def __init__(
        self,
        messages: Sequence[Pending],
        around: Around,
        plan: Plan,
    ) -> None:
        self._around = around
        self._workspace = around.workspace
        self._people = around.people
        self._now = around.now
        self._choose = around.choose
        self._plan = plan
        earliest = min(messages, key=lambda pending: pending.message.decidable_at)
        self._places: list[Place] = list(earliest.places)  # its window reaches back furthest
        self._turn = [(order_key(p.message), p) for p in messages]
        heapq.heapify(self._turn)
        marketing = _is_marketing(earliest.message)
        elsewhere = [
            order_key(m) for p in messages for m in p.elsewhere if _is_marketing(m) == marketing
        ]
        self._first_elsewhere = min(elsewhere, default=None)
        self._line: str | None = None
        """An earlier one waits in it, so those behind it do: its place under the caps is open."""
        self._over: dict[Key, Hold] = {}
        """Holds that are over already, of messages that have not come to their new turn yet."""

    def decide_all(self) -> None:
        while self._turn:
            key, pending = heapq.heappop(self._turn)
            if self._first_elsewhere is not None and key > self._first_elsewhere:
                self._keep_holds([pending, *(behind for _, behind in self._turn)])
                return
            if self._line is not None:
                self._wait(pending, self._line)
            else:
                self._decide(pending)

    def _decide(self, pending: Pending) -> None:
        message, now = pending.message, self._now
        contact = self._people[pending.key]
        verdict = decide(message, contact, self._workspace.settings.policies, now, self._places)
        match verdict:
            case SendBy():
                self._send(pending, verdict)
            case Hold() if verdict.until <= now:
                self._over[pending.key] = verdict
                later = replace(message, decidable_at=verdict.until, was_held=True)
                turn = (order_key(later), msgspec.structs.replace(pending, message=later))
                heapq.heappush(self._turn, turn)
            case Hold():
                self._hold(pending, verdict)
            case Drop():
                self._drop(pending, verdict)

    def _keep_holds(self, left: Iterable[Pending]) -> None:
        """Of messages that are left: the next claim finds each where it is now in the order. It
        would find the same ones again otherwise, and never come to those between."""
        for pending in left:
            hold = self._over.get(pending.key)
            if hold is not None:
                self._hold(pending, hold)

    def _send(self, pending: Pending, verdict: SendBy) -> None:
        channel, stopped = verdict.channel, self._around.stopped
        if stopped is not None and channel == "email" and _is_marketing(pending.message):
            hold = Hold(stopped.until, Reason.CHANNEL_PAUSED, channel, verdict.passed_over)
            self._hold(pending, hold, stopped.why)
            return
        adapter = self._choose(channel, pending.failed_on(channel), pending.bound_on(channel))
        if isinstance(adapter, datetime):
            hold = Hold(adapter, Reason.CHANNEL_PAUSED, channel, verdict.passed_over)
            self._hold(pending, hold)
            return
        if self._is_forgotten(pending, channel, adapter):
            self._leave_unknown(pending, channel)
            return
        try:
            prepared = self._prepared(pending, channel)
            answer = self._learn(pending, verdict, prepared)
            if answer is None or self._is_in_line(pending, verdict, adapter):
                return
            rendered = self._written(verdict, prepared, answer, adapter)
        except TemplateFailed as error:
            self._fail(pending, verdict, error)
            return
        self._attempt(pending, verdict, rendered, adapter)

    def _prepared(self, pending: Pending, channel: str) -> Prepared:
        hashes = self._around.hashes.get(pending.key, {})
        return prepare(
            self._workspace,
            pending,
            channel,
            self._now,
            self._around.links,
            hashes.get(channel, ""),
        )

    def _learn(self, pending: Pending, verdict: SendBy, prepared: Prepared) -> Answer | None:
        """What the template's live source says; None: the message waits for it, or is dropped."""
        call, question = prepared.template.call, prepared.question()
        if call is None or question is None:
            return UNASKED
        answer = self._around.answer(question.line)
        if answer is None:
            self._plan.asked.append(Asked(question, call))
            self._line = question.line
            self._wait(pending, question.line)
            return None
        refusal = answer.refusal(call)
        if refusal is not None:
            self._drop(pending, Drop(refusal, verdict.channel, verdict.passed_over))
            return None
        return answer

    def _is_in_line(self, pending: Pending, verdict: SendBy, adapter: str) -> bool:
        """It waits for a place under a limit; otherwise it has taken its places."""
        line = self._around.gate.let_through(
            verdict.channel, adapter, verdict.address, pending.waits_for
        )
        if line is not None:
            self._line = line
            self._wait(pending, line)
        return line is not None

    def _written(
        self, verdict: SendBy, prepared: Prepared, answer: Answer, adapter: str
    ) -> Finished:
        try:
            return prepared.finish(answer.live)
        except TemplateFailed:
            self._around.gate.put_back(verdict.channel, adapter, verdict.address)
            raise

    def _fail(self, pending: Pending, verdict: SendBy, error: TemplateFailed) -> None:
        logger.warning(
            "a template failed, so its message is dropped",
            action="template_error",
            message=pending.key.id,
            journey=pending.message.journey,
            template=pending.template,
            channel=verdict.channel,
            error=type(error.__cause__ or error).__name__,
            rule=str(error) if isinstance(error, RuleBroken) else None,
        )
        drop = Drop(Reason.TEMPLATE_ERROR, verdict.channel, verdict.passed_over)
        self._drop(pending, drop, _behind(error))

    def _is_forgotten(self, pending: Pending, channel: str, adapter: str) -> bool:
        """It may have been sent: on another channel, or long ago, so that the provider would take
        it for a new message by now."""
        if pending.maybe_sent_on not in (None, channel):
            return True
        earlier = pending.unknown_by(channel, adapter)
        if earlier is None or earlier.at is None:
            return False
        until = self._around.asks_until(channel, adapter, earlier.at)
        return until is not None and self._now >= until

    def _leave_unknown(self, pending: Pending, channel: str) -> None:
        channel = pending.maybe_sent_on or channel
        unknown = decided(pending, pending.attempts, self._now, "unknown", None, channel)
        self._plan.changes.append(unknown)

    def _attempt(self, pending: Pending, verdict: SendBy, rendered: Finished, adapter: str) -> None:
        message = pending.message
        token = pending.token_of(verdict.channel, adapter)
        unknown = pending.unknown_by(verdict.channel, adapter)
        if verdict.takes_place:
            self._places.append(
                Place(message.id, message.decidable_at, message.category, verdict.channel)
            )
        parts = rendered.content.parts
        outgoing = Outgoing(
            message_id=message.id,
            attempt=pending.attempts + 1,
            channel=verdict.channel,
            address=verdict.address,
            category=message.category,
            content=rendered.content,
            at=self._now,
            headers=rendered.headers,
            return_path=self._return_path(pending, verdict.channel),
            image=self._image(pending.template, parts.get("image", "")),
            approved=self._workspace.kakao.get(parts.get("template_code", "")),
            token=token,
            resumes=token is not None,
            repeats=unknown.number if unknown is not None else None,
        )
        self._plan.attempts.append(
            Attempt(
                pending,
                outgoing.attempt,
                adapter,
                _with_failed(pending, verdict.passed_over),
                verdict.takes_place,
                outgoing,
            )
        )

    def _return_path(self, pending: Pending, channel: str) -> str | None:
        paths = self._around.returns
        if paths is None or channel != "email":
            return None
        return paths.address(pending.key.id, self._around.hashes[pending.key].get(channel, ""))

    def _image(self, template: str, named: str) -> Image | None:
        return image_of(self._workspace.images, template, named) if named else None

    def _wait(self, pending: Pending, line: str) -> None:
        if pending.waits_for != line:
            self._plan.changes.append(in_line(pending, line))

    def _hold(self, pending: Pending, hold: Hold, why: str | None = None) -> None:
        metrics.HELD.labels(hold.channel, hold.reason).inc()
        self._plan.changes.append(
            queued(
                pending,
                pending.attempts,
                hold.until,
                channel=hold.channel,
                decidable_at=hold.until,
                held_reason=hold.reason,
                passed_over=_with_failed(pending, hold.passed_over),
                gives_back=hold.reason is not Reason.CHANNEL_PAUSED,
                why=why,
            )
        )

    def _drop(self, pending: Pending, drop: Drop, why: str | None = None) -> None:
        if pending.maybe_sent_on is not None:  # whoever may have got it was not spared it
            self._leave_unknown(pending, drop.channel)
            return
        self._plan.changes.append(
            decided(
                pending,
                pending.attempts,
                self._now,
                "dropped",
                drop.reason,
                drop.channel,
                passed_over=_with_failed(pending, drop.passed_over),
                why=why,
            )
        )


def _behind(error: TemplateFailed) -> str:
    """What may be told to whoever looks at the message. An error met while filling in may quote
    what the customer's names hold, so of that one only the kind is told."""
    cause = error.__cause__
    ours = cause is None or isinstance(cause, (TemplateInvalid, UnicodeError, msgspec.MsgspecError))
    return (str(error) if ours else type(cause).__name__)[:_LONGEST_WHY]


def _with_failed(
    pending: Pending, passed_over: tuple[PassedOver, ...]
) -> tuple[PassedOver | FailedAdapter, ...]:
    """A channel or an adapter that failed for good stays recorded, also where this decision ended
    before it."""
    seen = {passed.channel for passed in passed_over}
    channels = (f for f in pending.message.failed if f.channel not in seen)
    return (*passed_over, *channels, *pending.failed_adapters)
