"""The two transactions around a provider's call: one group's attempts, and what became of them."""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from services.dispatch import metrics, store
from services.dispatch.channel_lines import ChannelLines
from services.dispatch.channels.port import Outcome, Result
from services.dispatch.deciding import contacts, decide_group, with_suppressions
from services.dispatch.outcomes import Circumstances, change_after
from services.dispatch.pending import Attempt, Change, Key
from services.dispatch.workspace import CurrentWorkspace
from shared.address import address_hash
from shared.channels import CHANNELS
from shared.clock import Clock
from shared.db.connect import Connection, Pool, unavailable_when_lost
from shared.errors import Unavailable


class Groups:
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

    async def record_attempts(self, claimed: Sequence[tuple[Key, str]]) -> list[Attempt]:
        """Decide claimed messages; store holds, drops and attempts; return what is to be sent.

        Raises Unavailable; the attempts may then have been stored, and nobody may be called.
        """
        if not self._address_key:
            self._address_key = await store.address_key(self._pool)
        async with self._transaction() as connection:
            attempts, changes = await self._decide(connection, claimed)
        self._stored(changes)
        await self._unclaim_rest(claimed, attempts, changes)
        for attempt in attempts:
            if attempt.number == 1:
                waited = attempt.outgoing.at - attempt.pending.message.decidable_at
                metrics.LATENESS_SECONDS.observe(max(0.0, waited.total_seconds()))
        return attempts

    async def _unclaim_rest(
        self,
        claimed: Sequence[tuple[Key, str]],
        attempts: Sequence[Attempt],
        changes: Sequence[Change],
    ) -> None:
        """What was withdrawn meanwhile is left alone; what was only locked is offered again."""
        done = {attempt.pending.key for attempt in attempts} | {c.key for c in changes}
        with contextlib.suppress(Unavailable):  # then the lease runs out
            await store.unclaim(
                self._pool, self._dispatcher, [key for key, _ in claimed if key not in done]
            )

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        async with (
            unavailable_when_lost(),
            self._pool.acquire() as connection,
            connection.transaction(),
        ):
            yield connection

    async def _decide(
        self, connection: Connection, claimed: Sequence[tuple[Key, str]]
    ) -> tuple[list[Attempt], list[Change]]:
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
        changes = await store.store_changes(
            connection, self._dispatcher, "claimed", plan.changes, self._partitions
        )
        return plan.attempts, changes

    async def record_outcomes(self, finished: Sequence[tuple[Attempt, Result]]) -> None:
        """Store what became of calls. Raises Unavailable; storing them again does no harm."""
        async with self._transaction() as connection:
            retries = await store.retries(connection, [attempt for attempt, _ in finished])
            now = self._clock.now()
            changes = [
                change_after(attempt, result, self._circumstances(attempt, retries, now))
                for attempt, result in finished
            ]
            stored = await store.store_changes(
                connection, self._dispatcher, "attempting", changes, self._partitions
            )
            await self._suppress(connection, finished, now)
        self._stored(stored)
        for attempt, result in finished:
            if result.outcome is Outcome.UNKNOWN:
                metrics.UNKNOWN.labels(attempt.adapter).inc()

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

    async def _suppress(
        self,
        connection: Connection,
        finished: Sequence[tuple[Attempt, Result]],
        now: datetime,
    ) -> None:
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

    def _stored(self, changes: Sequence[Change]) -> None:
        if any(change.decision is None for change in changes):
            self._requeued()
        for change in changes:
            if change.decision is not None:
                metrics.DECISIONS.labels(
                    change.channel or "", change.decision, change.reason or ""
                ).inc()
