"""Rates and concurrency, shared by all dispatchers: what lets messages through to their calls.

A rate is one row (`send_rates`), moved in the attempts' transaction. Of a connection with a limit
on its calls at a time, each dispatcher says in the same transaction how many it has under way
(`send_calls`, believed as long as its leases); the connection's row in `send_rates` is the lock.

A message that finds no place stands in that line (`messages.waits_for`): it is claimed from there,
in deciding order and transactional first, by as many as there are places, and is judged by all
policies once more. Nothing about it changes meanwhile, and nobody walks over it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from services.dispatch import sql
from services.dispatch.connections import (
    UnderWay,
    adapter_of,
    concurrency_line,
    domain_line,
    rate_line,
)
from services.dispatch.pending import Attempt
from services.dispatch.policy.rate import Bucket
from shared.db.connect import Connection, Pool, unavailable_when_lost

HANDFUL = 0.08
"""Seconds' worth of places that a turn waits for, so that a place is not a turn of its own."""
_LOOK_AGAIN = timedelta(seconds=0.5)
"""Where another dispatcher has all calls of a connection: its end tells nobody but itself."""


class Limits(NamedTuple):
    """What a workspace limits, by line."""

    rates: Mapping[str, float]
    """Calls a second."""
    concurrency: Mapping[str, int]
    """Calls at a time."""

    def __bool__(self) -> bool:
        return bool(self.rates or self.concurrency)


@dataclass(slots=True)
class Gate:
    """The places of one turn, locked: it lets messages through, or says which line they wait in.

    A message needs a place of its channel, its domain and its connection, where these have a limit.
    """

    buckets: dict[str, Bucket] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    """Line of a connection's concurrency → calls that may be added; below 0 where the limit was
    lowered meanwhile."""
    taken: set[str] = field(default_factory=set)

    def let_through(
        self, channel: str, adapter: str, address: str, waits_for: str | None
    ) -> str | None:
        """None: its places are taken. Otherwise the line that it has to wait in.

        One that has come as far as a narrow line (its domain's, its connection's) stays there when
        a wider one has no place: the channel's line is for those that wait for nothing else.
        """
        lines = self._lines(channel, adapter, address)
        full = next((n for n, line in enumerate(lines) if not self._has_place(line)), None)
        if full is not None:
            return waits_for if waits_for in lines[:full] else lines[full]
        for line in lines:
            if line in self.calls:
                self.calls[line] -= 1
            else:
                self.buckets[line] = self.buckets[line].take()
            self.taken.add(line)
        return None

    def put_back(self, channel: str, adapter: str, address: str) -> None:
        for line in self._lines(channel, adapter, address):
            if line in self.calls:
                self.calls[line] += 1
            else:
                self.buckets[line] = self.buckets[line].put_back()

    def _lines(self, channel: str, adapter: str, address: str) -> list[str]:
        """Those with a limit, the narrowest first."""
        if not self.buckets and not self.calls:
            return []
        own = (
            domain_line(channel, address),
            concurrency_line(channel, adapter),
            rate_line(channel, adapter),
            channel,
        )
        return [line for line in own if line in self.buckets or line in self.calls]

    def _has_place(self, line: str) -> bool:
        if line in self.calls:
            return self.calls[line] > 0
        return self.buckets[line].places > 0


@dataclass(frozen=True, slots=True)
class Line:
    """A line in which somebody waits."""

    name: str
    channel: str
    places: int | None
    """How many may be let through now; None where the limit has been taken out of the settings."""
    ready_at: datetime
    """When a handful may be."""


Using = Callable[[str, str | None], str | None]
"""Channel and the adapter whose line it is → the adapter that its messages would go by now; None
while that is paused."""


class Shared:
    """The limits as one dispatcher keeps them together with all others."""

    def __init__(self, dispatcher: str, lease: timedelta) -> None:
        self._dispatcher = dispatcher
        self._lease = lease
        self.under_way = UnderWay()

    async def lines(
        self, connection: Connection, limits: Limits, using: Using, now: datetime
    ) -> list[Line]:
        """Those in which somebody waits."""
        rows = await connection.fetch(sql.LINES)
        buckets = {
            row["line"]: _bucket(row, limits.rates, now)
            for row in rows
            if row["line"] in limits.rates
        }
        waited_for = [row["line"] for row in rows if row["waited_for"]]
        free: dict[str, int] = {}
        if waited_for and limits.concurrency:
            free = await self._free(connection, limits.concurrency, limits)
        return [_line(name, buckets, free, using, now) for name in waited_for]

    async def next_ready(
        self, pool: Pool, limits: Limits, using: Using, now: datetime
    ) -> list[Line]:
        async with unavailable_when_lost(), pool.acquire() as connection:
            return await self.lines(connection, limits, using, now)

    async def lock(
        self,
        connection: Connection,
        limits: Limits,
        wanted: Iterable[str],
        finished: Iterable[Attempt],
        now: datetime,
    ) -> Gate:
        """The places under these lines, ours until the end of the transaction. Others wait for us.

        `finished`: calls that are over, of which the others shall hear.
        """
        ended = {concurrency_line(a.outgoing.channel, a.adapter) for a in finished}
        ended &= limits.concurrency.keys()
        rates = {line for line in wanted if line in limits.rates}
        calls = {line for line in wanted if line in limits.concurrency} | ended
        names = sorted(rates | calls)
        if not names:
            return Gate()
        rows = await connection.fetch(sql.LOCK_RATES, names)
        if len(rows) < len(names):
            of = [float(limits.rates.get(n) or limits.concurrency[n]) for n in names]
            await connection.execute(sql.NEW_RATES, names, of, [now] * len(names))
            rows = await connection.fetch(sql.LOCK_RATES, names)
        free = await self._free(connection, calls, limits) if calls else {}
        found = {r["line"]: _bucket(r, limits.rates, now) for r in rows if r["line"] in rates}
        return Gate(found, free, ended)

    async def store(self, connection: Connection, gate: Gate, now: datetime) -> None:
        """What was taken under the lock; new calls are under way in `under_way` already."""
        rates = sorted(gate.taken & gate.buckets.keys())
        if rates:
            buckets = [gate.buckets[name] for name in rates]
            await connection.execute(
                sql.SET_RATES,
                rates,
                [bucket.rate for bucket in buckets],
                [now + timedelta(seconds=bucket.ahead) for bucket in buckets],
            )
        calls = sorted(gate.taken & gate.calls.keys())
        if calls:
            own = [self.under_way.of_line(name) for name in calls]
            await connection.execute(sql.SAY_CALLS, self._dispatcher, self._lease, calls, own)

    async def _free(
        self, connection: Connection, names: Iterable[str], limits: Limits
    ) -> dict[str, int]:
        others = await self._others(connection, names)
        return {
            name: limits.concurrency[name] - others.get(name, 0) - self.under_way.of_line(name)
            for name in names
        }

    async def _others(self, connection: Connection, names: Iterable[str]) -> dict[str, int]:
        """How many calls the other dispatchers have under way, as far as they live."""
        rows = await connection.fetch(sql.OTHERS_CALLS, list(names), self._dispatcher)
        return {row["line"]: row["calls"] for row in rows}

    async def keep(self, pool: Pool) -> None:
        """What we have said is believed for another lease; what the dead have said is forgotten."""
        async with unavailable_when_lost(), pool.acquire() as connection:
            await connection.execute(sql.KEEP_CALLS, self._dispatcher, self._lease)


async def forget_all(connection: Connection) -> None:
    """Only where no other dispatcher can be alive."""
    await connection.execute("DELETE FROM send_calls")


def _line(
    name: str,
    buckets: Mapping[str, Bucket],
    free: Mapping[str, int],
    using: Using,
    now: datetime,
) -> Line:
    """A narrow line also waits for its channel's places, and every one for those of the connection
    by which its messages would go: that is its own adapter's, unless this is paused."""
    channel = name.partition(":")[0]
    adapter = using(channel, adapter_of(name))
    own = {channel}
    if adapter_of(name) is None:
        own.add(name)
    if adapter is not None:
        own |= {rate_line(channel, adapter), concurrency_line(channel, adapter)}
    found = [buckets[line] for line in own if line in buckets]
    calls = [max(0, free[line]) for line in own if line in free]
    ready_at = now + timedelta(seconds=max((_handful(bucket) for bucket in found), default=0.0))
    if 0 in calls:
        ready_at = max(ready_at, now + _LOOK_AGAIN)
    places = min((*(bucket.places for bucket in found), *calls), default=None)
    return Line(name, channel, places, ready_at)


def _handful(bucket: Bucket) -> float:
    return bucket.seconds_until(max(1.0, bucket.rate * HANDFUL))


def _bucket(row: Any, rates: Mapping[str, float], now: datetime) -> Bucket:
    bucket = Bucket(row["rate"], max(0.0, (row["next_at"] - now).total_seconds()))
    wanted = rates[row["line"]]
    return bucket if bucket.rate == wanted else bucket.at_rate(wanted)
