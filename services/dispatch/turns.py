"""One turn's transaction: what became of the calls that have finished, and the next attempts.

Both go into one transaction, so that a group costs one commit and not two, and so that the attempts
without an outcome are never more than they were before it plus what it has room for.
"""

import contextlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from services.dispatch import metrics, store
from services.dispatch.channel_lines import ChannelLines
from services.dispatch.channels.port import Outcome, Result
from services.dispatch.deciding import contacts, decide_group, with_suppressions
from services.dispatch.outcomes import Circumstances, change_after
from services.dispatch.pending import Attempt, Change, Key, Plan
from services.dispatch.workspace import CurrentWorkspace
from shared.address import address_hash
from shared.channels import CHANNELS
from shared.clock import Clock
from shared.db.connect import Connection, Pool, unavailable_when_lost
from shared.errors import Unavailable

Finished = tuple[Attempt, Result]
Claimed = Sequence[tuple[Key, str]]
"""Keys with their customers."""


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
        requeued: Callable[[], None],
    ) -> None:
        """`requeued` is called when messages were queued again, perhaps for sooner than others."""
        self._pool = pool
        self._clock = clock
        self._lines = lines
        self._current = current
        self._dispatcher = dispatcher
        self._partitions = partitions
        self._lease = lease
        self._requeued = requeued
        self._address_key = b""

    async def carry_out(self, finished: Sequence[Finished], claimed: Claimed) -> list[Attempt]:
        """Store what became of calls, decide claimed messages, return what is to be sent now.

        Raises Unavailable. All of it may then have been stored or nothing: nobody may be called,
        and storing the finished calls again does no harm.
        """
        if not self._address_key:
            self._address_key = await store.address_key(self._pool)
        async with (
            unavailable_when_lost(),
            self._pool.acquire() as connection,
            connection.transaction(),
        ):
            changes = await self._store_outcomes(connection, finished) if finished else []
            plan = await self._decide(connection, claimed) if claimed else Plan()
            changes += plan.changes
            await store.tell_log(connection, changes, self._partitions)
        self._count(changes, finished, plan.attempts)
        await self._unclaim_rest(claimed, plan)
        return plan.attempts

    async def _unclaim_rest(self, claimed: Claimed, plan: Plan) -> None:
        """What was withdrawn meanwhile is left alone; what was only locked is offered again."""
        done = {a.pending.key for a in plan.attempts} | {c.key for c in plan.changes}
        with contextlib.suppress(Unavailable):  # then the lease runs out
            await store.unclaim(
                self._pool, self._dispatcher, [key for key, _ in claimed if key not in done]
            )

    async def _decide(self, connection: Connection, claimed: Claimed) -> Plan:
        """What was decided and stored."""
        workspace = await self._current.get(connection)
        assert workspace is not None, "nothing is claimed before a workspace is there"
        await store.lock_customers(
            connection, [(key.partition, customer) for key, customer in claimed]
        )
        now = self._clock.now()
        keys = [key for key, _ in claimed]
        group = await store.read(connection, self._dispatcher, keys, now, workspace.window)
        self._lines.follow(workspace)
        known = contacts(workspace, group, self._address_key)
        closed = await store.suppressed(
            connection, [h for _, hashes in known.values() for h in hashes.values()]
        )
        people = {
            key: with_suppressions(contact, hashes, closed)
            for key, (contact, hashes) in known.items()
        }
        plan = decide_group(workspace, group, people, now, self._lines.paused_until)
        await store.record_attempts(connection, self._dispatcher, plan.attempts, self._lease)
        plan.changes = await store.store_changes(
            connection, self._dispatcher, "claimed", plan.changes
        )
        return plan

    async def _store_outcomes(
        self, connection: Connection, finished: Sequence[Finished]
    ) -> list[Change]:
        retries = await store.retries(connection, [attempt for attempt, _ in finished])
        now = self._clock.now()
        changes = [
            change_after(attempt, result, self._circumstances(attempt, retries, now))
            for attempt, result in finished
        ]
        stored = await store.store_changes(connection, self._dispatcher, "attempting", changes)
        dead = [
            address_hash(
                CHANNELS[attempt.outgoing.channel].address,
                attempt.outgoing.address,
                self._address_key,
            )
            for attempt, result in finished
            if result.outcome is Outcome.UNDELIVERABLE_ADDRESS
        ]
        await store.suppress(connection, dead, now)
        return stored

    def _circumstances(
        self, attempt: Attempt, retries: dict[Key, int], now: datetime
    ) -> Circumstances:
        channel = attempt.outgoing.channel
        return Circumstances(
            now=now,
            retries=retries.get(attempt.pending.key, 0),
            retry_unknown=self._lines.retries_unknown(channel),
            paused_until=self._lines.paused_until(channel),
        )

    def _count(
        self, changes: Sequence[Change], finished: Sequence[Finished], attempts: Sequence[Attempt]
    ) -> None:
        if any(change.decision is None for change in changes):
            self._requeued()
        for change in changes:
            if change.decision is not None:
                metrics.DECISIONS.labels(
                    change.channel or "", change.decision, change.reason or ""
                ).inc()
        for attempt, result in finished:
            if result.outcome is Outcome.UNKNOWN:
                metrics.UNKNOWN.labels(attempt.adapter).inc()
        for attempt in attempts:
            if attempt.number == 1:
                waited = attempt.outgoing.at - attempt.pending.message.decidable_at
                metrics.LATENESS_SECONDS.observe(max(0.0, waited.total_seconds()))
