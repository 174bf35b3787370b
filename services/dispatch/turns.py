"""A turn: one transaction for what became of finished calls, and for the next attempts.

Both in one, so that a group costs one commit and not two. The room for new attempts is what the
finished ones leave, and what was free: no commit ever shows more attempts without an outcome than
that. Messages are claimed by the lock on their row, decided under the lock of their customer and
rendered, all before the commit; providers are called after it.
"""

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from services.dispatch import metrics, store
from services.dispatch.channel_lines import ChannelLines
from services.dispatch.channels.port import Outcome, Result
from services.dispatch.complaints import SentMail, Stopped
from services.dispatch.connections import adapters_of, concurrency_line, domain_line, rate_line
from services.dispatch.contacts import contacts, with_suppressions
from services.dispatch.deciding import Around, decide_group
from services.dispatch.doors.links import Leave, Links, make_links
from services.dispatch.doors.store import Doors, Statement
from services.dispatch.live import Live
from services.dispatch.outcomes import TAKEN, Circumstances, change_after
from services.dispatch.pending import Asked, Attempt, Change, Key
from services.dispatch.policy import Contact
from services.dispatch.rates import Limits, Shared
from services.dispatch.receipts.bounces.verp import ReturnPaths, make_return_paths
from services.dispatch.receipts.texts import polls
from services.dispatch.workspace import CurrentWorkspace, Workspace
from shared.address import address_hash
from shared.channels import CHANNELS
from shared.clock import Clock
from shared.db.connect import Connection, Pool, unavailable_when_lost
from shared.errors import Unavailable
from shared.mail_complaints import MailPause

Finished = tuple[Attempt, Result]

_MANY = 1000


@dataclass(slots=True)
class Turn:
    """What goes into it, and what came of it."""

    finished: Sequence[Finished]
    room: int
    """How many messages may be claimed."""
    attempts: list[Attempt] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    """What live sources are asked once it is stored."""
    drained: list[str] = field(default_factory=list)
    """Lines of answered questions in which nobody is left."""
    more: bool = False
    """The room was used up, so more may be due."""
    freed: bool = False
    """Calls of a connection have ended for which others wait."""

    @property
    def places(self) -> int:
        """What it occupies: until the commit the finished calls count as under way."""
        return max(len(self.finished), self.room)

    @property
    def requeued(self) -> bool:
        """Something was queued again, perhaps for sooner than all else."""
        return any(change.decision is None for change in self.changes)


class Turns:
    def __init__(
        self,
        pool: Pool,
        clock: Clock,
        lines: ChannelLines,
        current: CurrentWorkspace,
        *,
        dispatcher: str,
        partitions: int,
        lease: timedelta,
        live: Live,
        public_url: str | None = None,
        bounce_domain: str | None = None,
    ) -> None:
        self._live = live
        self._pool = pool
        self._clock = clock
        self._lines = lines
        self._current = current
        self._dispatcher = dispatcher
        self._partitions = partitions
        self._lease = lease
        self._address_key = b""
        self._doors = Doors(pool, partitions)
        self._public_url = public_url
        self._links: Links | None = None
        self._bounce_domain = bounce_domain
        self._returns: ReturnPaths | None = None
        self.shared = Shared(dispatcher, lease)
        self.sent = SentMail()
        self._stopped = Stopped()
        self._mail_domain: str | None = None
        """Of the newest workspace's sender."""
        self._limits: Limits | None = None
        """None until the first workspace is there."""
        self._waited = True
        """Somebody waited for a place when that was last looked for."""

    async def carry_out(self, turn: Turn) -> None:
        """Store what became of calls; claim, decide and store; `turn.attempts` may then be made.

        Raises Unavailable. All of it may then have been stored or nothing: none of the attempts
        may be made, and storing the finished calls again does no harm.
        """
        if not self._address_key:
            self._address_key = await store.address_key(self._pool)
            if self._public_url:
                self._links = make_links(self._public_url, self._address_key)
            if self._bounce_domain:
                self._returns = make_return_paths(self._bounce_domain, self._address_key)
        async with (
            unavailable_when_lost(),
            self._pool.acquire() as connection,
            connection.transaction(),
        ):
            if turn.finished:
                turn.changes += await self._store_outcomes(connection, turn.finished)
            if not (turn.room and await self._decide(connection, turn)):
                await self._say_freed(connection, turn)
            await store.tell_log(connection, turn.changes, self._partitions)
        self._live.served(turn.drained)
        self._live.ask(turn.asked)
        if self._mail_domain is not None and turn.finished:
            self.sent.count(turn.finished, turn.changes, self._mail_domain)
        await self._withdraw(turn.finished)
        _count(turn)

    async def _withdraw(self, finished: Sequence[Finished]) -> None:
        """Who has refused advertising at the provider is asked no more. In a transaction of its
        own; were it lost, the provider would say so again at the next message."""
        for attempt, result in finished:
            if result.opted_out:
                out, now = attempt.outgoing, self._clock.now()
                kind = CHANNELS[out.channel].address
                closed = address_hash(kind, out.address, self._address_key)
                leave = Leave(attempt.pending.customer, out.channel, out.message_id, closed)
                said = Statement(out.channel, granted=False, wording="refused at the provider")
                with contextlib.suppress(Unavailable):
                    await self._doors.state(leave, [said], "provider", now)

    async def _say_freed(self, connection: Connection, turn: Turn) -> None:
        """Of a turn without new attempts."""
        if self._limits is not None and self._limits.concurrency and turn.finished:
            now = self._clock.now()
            ended = [attempt for attempt, _ in turn.finished]
            gate = await self.shared.lock(connection, self._limits, (), ended, now)
            await self.shared.store(connection, gate, now)
            turn.freed = bool(gate.taken) and self._waited

    async def _decide(self, connection: Connection, turn: Turn) -> bool:
        """Whether there was anything to decide."""
        workspace = await self._current.get(connection)
        if workspace is None:
            return False
        now = self._clock.now()
        self._lines.follow(workspace)
        limits = self._limits = workspace.limits
        self._mail_domain = workspace.mail_domain
        answered = self._live.ready(turn.room)
        places = await self._places(connection, limits, now)
        claimed = await store.claim(connection, now, turn.room, answered | places)
        if len(claimed) < turn.room:
            turn.drained = list(answered)
        if not claimed:
            return False
        group = await store.read(connection, claimed, now, workspace.window)
        known = contacts(workspace, group, self._address_key)
        closed = await store.suppressed(
            connection, [h for _, hashes in known.values() for h in hashes.values()]
        )
        people = {
            key: with_suppressions(contact, hashes, closed)
            for key, (contact, hashes) in known.items()
        }
        hashes = {key: hashes for key, (_, hashes) in known.items()}
        ended = [attempt for attempt, _ in turn.finished]
        wanted = _lines_of(people.values(), workspace) if limits else ()
        gate = await self.shared.lock(connection, limits, wanted, ended, now)
        lines, answer = self._lines, self._live.answer
        around = Around(
            *(workspace, people, hashes, now, lines.choose, self._links),
            *(self._returns, gate, answer),
            asks_until=lines.asks_until,
            stopped=await self._mail_stopped(connection, now),
        )
        plan = decide_group(group, around)
        turn.attempts, turn.asked = plan.attempts, plan.asked
        self.shared.under_way.add(plan.attempts)
        await self.shared.store(connection, gate, now)
        await store.record_attempts(connection, self._dispatcher, plan.attempts, self._lease)
        decided = await store.store_decisions(connection, plan.changes)
        turn.changes += decided
        turn.more = len(claimed) >= turn.room and bool(decided or plan.attempts)
        return True

    async def _mail_stopped(self, connection: Connection, now: datetime) -> MailPause | None:
        if self._mail_domain is None:
            return None
        return (await self._stopped.get(connection, now)).get(self._mail_domain)

    async def _places(
        self, connection: Connection, limits: Limits, now: datetime
    ) -> dict[str, int]:
        """Line of a limit → how many of those that wait in it may be claimed."""
        if not limits and not self._waited:
            return {}
        lines = await self.shared.lines(connection, limits, self._lines.using, now)
        self._waited = bool(lines)
        return {
            line.name: _MANY if line.places is None else line.places
            for line in lines
            if line.places != 0 and self._pause(line.channel) is None
        }

    def _pause(self, channel: str) -> datetime | None:
        chosen = self._lines.choose(channel)
        return chosen if isinstance(chosen, datetime) else None

    async def next_due(self) -> datetime | None:
        """When the next message may be claimed; None while there is none. Raises Unavailable."""
        due = await store.next_due(self._pool)
        if self._limits is None:
            return due
        now = self._clock.now()
        lines = await self.shared.next_ready(self._pool, self._limits, self._lines.using, now)
        self._waited = bool(lines)
        for line in lines:
            ready = max(line.ready_at, self._pause(line.channel) or now)
            due = ready if due is None else min(due, ready)
        return due

    async def _store_outcomes(
        self, connection: Connection, finished: Sequence[Finished]
    ) -> list[Change]:
        retries = await store.retries(connection, [attempt for attempt, _ in finished])
        now = self._clock.now()
        changes = [
            change_after(attempt, result, self._circumstances(attempt, result, retries, now))
            for attempt, result in finished
        ]
        stored = await store.store_outcomes(connection, self._dispatcher, changes)
        dead = [
            address_hash(
                CHANNELS[attempt.outgoing.channel].address,
                attempt.outgoing.address,
                self._address_key,
            )
            for attempt, result in finished
            if result.outcome is Outcome.UNDELIVERABLE_ADDRESS
            and not await _given_again(connection, attempt, result)
        ]
        await store.suppress(connection, dead, now)
        await polls.remember(connection, finished, {change.key for change in stored}, now)
        return stored

    def _circumstances(
        self, attempt: Attempt, result: Result, retries: dict[Key, int], now: datetime
    ) -> Circumstances:
        if result.outcome in TAKEN:
            return Circumstances(now)
        channel, pending = attempt.outgoing.channel, attempt.pending
        bound = pending.bound_on(channel)
        failed = pending.failed_on(channel)
        next_by = self._lines.choose(channel, failed, bound)
        earlier = pending.unknown_by(channel, attempt.adapter)
        since = earlier.at if earlier is not None and earlier.at else attempt.outgoing.at
        return Circumstances(
            now=now,
            retries=retries.get(pending.key, 0),
            retry_unknown=self._lines.retries_unknown(channel, attempt.adapter),
            retry_until=self._lines.asks_until(channel, attempt.adapter, since),
            perhaps_sent=bound is not None and not self._lines.knows(channel, bound),
            paused_until=next_by if isinstance(next_by, datetime) else None,
            others=()
            if bound is not None
            else self._lines.others(channel, failed | {attempt.adapter}),
        )


async def _given_again(connection: Connection, attempt: Attempt, result: Result) -> bool:
    """The customer has given the address after the provider had found it gone."""
    if result.gone_since is None:
        return False
    key, address = attempt.pending.key, attempt.outgoing.address
    return await store.was_told_since(
        connection, key.partition, attempt.pending.customer, address, result.gone_since
    )


def _lines_of(people: Iterable[Contact], workspace: Workspace) -> set[str]:
    """The lines that these people's messages may have to do with."""
    found: set[str] = set()
    for contact in people:
        for channel, address in contact.addresses.items():
            found.update((channel, domain_line(channel, address)))
            settings = workspace.settings.channels.get(channel)
            for adapter in adapters_of(settings) if settings is not None else ():
                found.update((rate_line(channel, adapter), concurrency_line(channel, adapter)))
    return found


def _count(turn: Turn) -> None:
    metrics.decided(turn.changes)
    stored = {change.key for change in turn.changes}
    for attempt, result in turn.finished:
        # What somebody else has settled meanwhile, he has counted.
        if result.outcome is Outcome.UNKNOWN and attempt.pending.key in stored:
            metrics.UNKNOWN.labels(attempt.adapter).inc()
    for attempt in turn.attempts:
        if attempt.number == 1:
            waited = attempt.outgoing.at - attempt.pending.message.decidable_at
            metrics.LATENESS_SECONDS.observe(max(0.0, waited.total_seconds()))
