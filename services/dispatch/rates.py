"""Channel rates, shared by all dispatchers: one row a rate, moved in the attempts' transaction.

A message that finds no place stands in that rate's line (`messages.waits_for`): it is claimed from
there, in deciding order and transactional first, by as many as there are places, and is judged by
all policies once more. Nothing about it changes meanwhile, and nobody walks over it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from services.dispatch import sql
from services.dispatch.policy.rate import Bucket
from shared.db.connect import Connection, Pool, unavailable_when_lost
from shared.workspace import ChannelSettings

HANDFUL = 0.08
"""Seconds' worth of places that a turn waits for, so that a place is not a turn of its own."""


def rates_of(channels: Mapping[str, ChannelSettings]) -> dict[str, float]:
    """Line → messages a second: `email` for the channel, `email:gmail.com` for a domain of it."""
    rates: dict[str, float] = {}
    for channel, settings in channels.items():
        if settings.rate is not None:
            rates[channel] = settings.rate
        for domain, rate in settings.domain_rates.items():
            rates[f"{channel}:{domain}"] = rate
    return rates


def domain_line(channel: str, address: str) -> str:
    """The line of an e-mail address's domain; nobody waits in one that has no rate."""
    return f"{channel}:{address.rpartition('@')[2].lower()}"


@dataclass(slots=True)
class Gate:
    """The buckets of one turn, locked: it lets messages through, or says which line they wait in.

    A message needs a place of its channel and of its domain, where these have a rate.
    """

    buckets: dict[str, Bucket] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def let_through(self, channel: str, address: str, waits_for: str | None) -> str | None:
        """None: its places are taken. Otherwise the line that it has to wait in.

        One that has come as far as its domain's line stays there when the channel has no place:
        the channel's line is for those that wait for nothing else.
        """
        domain = domain_line(channel, address)
        lines = [line for line in (domain, channel) if line in self.buckets]
        full = next((line for line in lines if not self.buckets[line].places), None)
        if full is not None:
            return domain if waits_for == domain and domain in lines else full
        for line in lines:
            self.buckets[line] = self.buckets[line].take()
            self.taken.add(line)
        return None

    def put_back(self, channel: str, address: str) -> None:
        for line in (domain_line(channel, address), channel):
            if line in self.buckets:
                self.buckets[line] = self.buckets[line].put_back()


@dataclass(frozen=True, slots=True)
class Line:
    """A line in which somebody waits."""

    name: str
    channel: str
    places: int | None
    """How many may be let through now; None where the rate has been taken out of the settings."""
    ready_at: datetime
    """When a handful may be."""


async def lines(connection: Connection, rates: Mapping[str, float], now: datetime) -> list[Line]:
    rows = await connection.fetch(sql.LINES)
    buckets = {row["line"]: _bucket(row, rates, now) for row in rows if row["line"] in rates}
    found = []
    for name in (row["line"] for row in rows if row["waited_for"]):
        channel = name.partition(":")[0]  # a domain's line also waits for its channel's places
        own = [buckets[line] for line in {name, channel} if line in buckets]
        found.append(
            Line(
                name,
                channel,
                min((bucket.places for bucket in own), default=None),
                now + timedelta(seconds=max((_handful(bucket) for bucket in own), default=0.0)),
            )
        )
    return found


def _handful(bucket: Bucket) -> float:
    return bucket.seconds_until(max(1.0, bucket.rate * HANDFUL))


async def lock(
    connection: Connection, rates: Mapping[str, float], wanted: Iterable[str], now: datetime
) -> Gate:
    """The buckets of these lines, ours until the end of the transaction. Others wait for us."""
    names = sorted({line for line in wanted if line in rates})
    if not names:
        return Gate()
    rows = await connection.fetch(sql.LOCK_RATES, names)
    if len(rows) < len(names):
        await connection.execute(
            sql.NEW_RATES, names, [rates[name] for name in names], [now] * len(names)
        )
        rows = await connection.fetch(sql.LOCK_RATES, names)
    return Gate({row["line"]: _bucket(row, rates, now) for row in rows})


async def store(connection: Connection, gate: Gate, now: datetime) -> None:
    if not gate.taken:
        return
    names = sorted(gate.taken)
    buckets = [gate.buckets[name] for name in names]
    await connection.execute(
        sql.SET_RATES,
        names,
        [bucket.rate for bucket in buckets],
        [now + timedelta(seconds=bucket.ahead) for bucket in buckets],
    )


def _bucket(row: Any, rates: Mapping[str, float], now: datetime) -> Bucket:
    bucket = Bucket(row["rate"], max(0.0, (row["next_at"] - now).total_seconds()))
    wanted = rates[row["line"]]
    return bucket if bucket.rate == wanted else bucket.at_rate(wanted)


async def next_ready(pool: Pool, rates: Mapping[str, float], now: datetime) -> list[Line]:
    async with unavailable_when_lost(), pool.acquire() as connection:
        return await lines(connection, rates, now)
