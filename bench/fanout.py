"""A schedule to very many members beside live traffic: `python -m bench.fanout [--members N]`.

`dangol up` as one process on a fresh PostgreSQL. The members are made beforehand, as rows. Live
orders of other customers come by HTTP at a steady rate, each of which sends one message (adapter
`log`); its latency is from the receipt by the log to the message's decision. Measured first without
the fan-out, then with it, from the firing until every member's run has begun. Figures go to
bench/results/fanout.json.
"""

import argparse
import asyncio
import json
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench import machine
from bench.load import batch, post_all
from services.journey.core.state import State, pack
from shared.clock import wall_clock
from shared.db import embedded
from shared.db.connect import Pool, open_pool
from shared.db.migrate import migrate
from shared.event import partition_of
from tests.processes import Dangol

RESULTS = Path(__file__).parent / "results" / "fanout.json"
_PARTITIONS = 8
_ALONE = 20.0
"""Seconds of live traffic without the fan-out."""
_NEWSLETTER = """journey: newsletter
trigger: {{schedule: "{minute} {hour} * * *", timezone: UTC, segment: readers}}
steps: [{{wait: 30d}}]
"""
_FILES = {
    "dangol.yaml": "policies: {consent: assumed}\nchannels:\n  push: {adapter: log}\n",
    "segments/readers.yaml": "segment: readers\nwhere: profile.reads == true\n",
    "journeys/receipt.yaml": (
        "journey: receipt\ncategory: transactional\ntrigger: {event: Order Completed}\n"
        "entry: {key: event.order_id}\nsteps: [{send: push, template: thanks}]\n"
    ),
    "templates/thanks/push.liquid": "---\ntitle: Thank you\n---\n{{ trigger.order_id }}",
}


async def _make_members(pool: Pool, members: int) -> None:
    """Every second customer reads: twice as many rows as members."""
    state = pack(State(seen={1: 0}))
    async with pool.acquire() as connection:
        for start in range(0, 2 * members, 50_000):
            names = [f"m{n:08d}" for n in range(start, min(start + 50_000, 2 * members))]
            await connection.copy_records_to_table(
                "customers",
                records=[
                    (partition_of(n, _PARTITIONS), n, _traits(place), state)
                    for place, n in enumerate(names)
                ],
                columns=("partition", "id", "traits", "state"),
            )
        await connection.execute("VACUUM ANALYZE customers")


def _traits(place: int) -> dict[str, Any]:
    return {"email": "somebody@shop.example", "name": "Somebody", "reads": place % 2 == 0}


def _write(folder: Path, fires: datetime) -> Path:
    files = _FILES | {
        "journeys/newsletter.yaml": _NEWSLETTER.format(minute=fires.minute, hour=fires.hour)
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


class _Live:
    """Orders of other customers, `rate` a second, until told to stop."""

    def __init__(self, port: int, rate: float) -> None:
        self._port = port
        self._gap = 1 / rate
        self._number = 0
        self.stop = asyncio.Event()

    async def run(self) -> None:
        following = time.perf_counter()
        while not self.stop.is_set():
            self._number += 1
            await post_all(self._port, [self._order()], 1)
            following += self._gap
            await asyncio.sleep(max(0.0, following - time.perf_counter()))

    def _order(self) -> bytes:
        n = self._number
        person = {"userId": f"live{n % 500}", "type": "identify", "traits": {"push_token": "t"}}
        order = {
            "type": "track", "userId": f"live{n % 500}", "event": "Order Completed",
            "messageId": f"o{n}", "properties": {"order_id": f"o{n}"},
        }  # fmt: skip
        return batch([person | {"messageId": f"i{n}"}, order])


async def _latencies(pool: Pool, start: datetime, end: datetime) -> dict[str, float]:
    row = await pool.fetchrow(
        "SELECT count(*) AS n, percentile_cont(ARRAY[0.5, 0.95, 0.99, 1.0]) WITHIN GROUP"
        " (ORDER BY extract(epoch FROM decided_at - created_at)) AS at"
        " FROM messages WHERE created_at >= $1 AND created_at < $2",
        start,
        end,
    )
    assert row is not None
    names = ("p50_ms", "p95_ms", "p99_ms", "max_ms")
    found = {name: round(float(at) * 1000, 1) for name, at in zip(names, row["at"], strict=True)}
    return {"orders": row["n"], **found}


async def _entered(pool: Pool) -> int:
    n: int = await pool.fetchval(
        "SELECT coalesce(sum(n), 0)::bigint FROM counts"
        " WHERE journey = 'newsletter' AND what = 'entered'"
    )
    return n


async def _measure(dsn: str, folder: Path, members: int, rate: float) -> dict[str, Any]:
    await migrate(dsn, _PARTITIONS)
    pool = await open_pool(dsn, size=2, name="bench")
    await _make_members(pool, members)
    # The minute after next, so that the traffic alone is measured before.
    fires = (wall_clock() + timedelta(seconds=60 + _ALONE + 15)).replace(second=0, microsecond=0)
    dangol = Dangol(
        folder / "data", _write(folder / "ws", fires), environment={"DANGOL_DATABASE_URL": dsn}
    )
    await dangol.start()
    live = _Live(dangol.port, rate)
    trading = asyncio.create_task(live.run())
    assert dangol.process is not None
    try:
        await asyncio.sleep(5)
        before = machine.speed()
        alone_from = wall_clock()
        await asyncio.sleep(_ALONE)
        alone = await _latencies(pool, alone_from, wall_clock())
        await asyncio.sleep(max(0.0, (fires - wall_clock()).total_seconds()))
        print(f"without: {alone}; it fires now", flush=True)
        while (entered := await _entered(pool)) < members:
            await asyncio.sleep(1)
            print(f"\r{entered:,} of {members:,}", end="", flush=True)
        done = wall_clock()
        beside = await _latencies(pool, fires, done)
    finally:
        live.stop.set()
        await trading
        await dangol.stop()
    row = await pool.fetchrow("SELECT done_at - at AS streamed, fired_at - at AS late FROM firings")
    assert row is not None
    doubles = await pool.fetchval(
        "SELECT count(*) - count(DISTINCT customer) FROM history WHERE kind = 'enter'"
    )
    assert doubles == 0
    await pool.close()
    seconds = (done - fires).total_seconds()
    return {
        "members": members,
        "customers": 2 * members,
        "live_orders_a_second": rate,
        "planned_late_ms": round(row["late"].total_seconds() * 1000, 1),
        "seconds_until_all_have_entered": round(seconds, 1),
        "members_a_second": round(members / seconds),
        "order_to_decision_without": alone,
        "order_to_decision_beside_the_fan_out": beside,
        "machine_speed": round(before, 1),
    }


async def _run(members: int, rate: float) -> None:
    with tempfile.TemporaryDirectory(prefix="dangol-fanout-") as name:
        folder = Path(name)
        server = embedded.start(folder / "pg")
        try:
            figures = await _measure(server.dsn, folder, members, rate)
        finally:
            embedded.stop(server)
    found = {"at": datetime.now(UTC).date().isoformat(), "machine": machine.describe()}
    RESULTS.write_text(json.dumps(found | {"fan_out": figures}, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=1_000_000)
    parser.add_argument("--rate", type=float, default=30.0, help="live orders a second")
    given = parser.parse_args()
    asyncio.run(_run(given.members, given.rate))
