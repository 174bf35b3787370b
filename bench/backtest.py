"""Backtests and simulations on this machine: `python -m bench.backtest [--events N]`.

A real PostgreSQL with a history of N events (200,000) of N/20 customers in 30 days, as a shop has
them; the example shop's workspace is live, and the draft is the same with other conditions. Every
event is met by both. Beside it `dangol simulate` over a file of 100,000 such events. Figures go to
bench/results/backtest.json.
"""

import argparse
import json
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import uvloop

from bench import machine
from services.console.backtesting.reading import backtest
from services.console.folder import read_folder
from services.console.publish import apply
from services.console.simulate import simulate
from services.journey.core.state import State, pack
from services.journey.language.workspace import load_workspace
from services.journey.maintenance import make_months
from shared.clock import REAL, wall_clock
from shared.db import embedded
from shared.db.connect import Pool, open_pool
from shared.db.migrate import migrate
from shared.event import Event, Kind, encode, partition_of

RESULTS = Path(__file__).parent / "results" / "backtest.json"
SHOP = Path(__file__).parents[1] / "examples" / "shop"
PARTITIONS = 8
ROUNDS = 3
SPAN = timedelta(days=30)
SIMULATED = 100_000


def draft() -> dict[str, bytes]:
    files = read_folder(SHOP)
    cart = files["journeys/cart-reminder.yaml"].replace(b"event.price >= 10000", b"event.price > 0")
    settings = files["dangol.yaml"].replace(b"limit: 2, per: 24h", b"limit: 1, per: 24h")
    return {**files, "journeys/cart-reminder.yaml": cart, "dangol.yaml": settings}


def events(count: int, start: datetime) -> Iterator[Event]:
    """Half views, a quarter carts, orders, sign-ups with consent, and pages; in order of time."""
    chance = random.Random(7)
    for number in range(count):
        user = f"u{chance.randrange(count // 20)}"
        at = start + SPAN * (number / count)
        kind: Kind = "track"
        name, dice = "", chance.random()
        properties: dict[str, Any] = {}
        traits: dict[str, Any] = {}
        if dice < 0.08:
            kind = "identify"
            traits = {
                "email": f"{user}@shop.example",
                "push_token": user,
                "consent": {"email": True, "push": True},
                "tier": chance.choice(["gold", "silver"]),
                "signed_up_at": at.isoformat(),
            }
        elif dice < 0.58:
            name, properties = "Product Viewed", {"sku": f"p{chance.randrange(500)}"}
        elif dice < 0.83:
            name = "Product Added"
            properties = {"cart_id": f"c-{user}", "price": chance.randrange(1000, 90000)}
        elif dice < 0.93:
            name = "Order Completed"
            properties = {"cart_id": f"c-{user}", "order_id": f"o{number}", "total": 30000}
        else:
            kind, name = "page", "Home"
        yield Event(
            id=f"m{number}", kind=kind, name=name, timestamp=at, user_id=user,
            properties=properties, traits=traits, source="bench", received_at=at,
            context={"library": {"name": "analytics.js", "version": "2.3.1"}, "locale": "ko-KR"},
        )  # fmt: skip


async def fill(pool: Pool, count: int, now: datetime) -> None:
    async with pool.acquire() as connection:
        for months in range(3):
            await make_months(connection, now - timedelta(days=30 * months))
    state = pack(State(seen={1: int(now.timestamp())}))
    names = [f"u{number}" for number in range(count // 20)]
    await pool.copy_records_to_table(
        "customers",
        records=[(partition_of(name, PARTITIONS), name, state) for name in names],
        columns=("partition", "id", "state"),
    )
    await pool.copy_records_to_table(
        "history",
        records=(
            (
                partition_of(e.customer, PARTITIONS), e.customer, e.received_at, e.id, e.kind,
                e.name, e.timestamp, encode(e),
            )
            for e in events(count, now - SPAN)
        ),
        columns=(
            "partition", "customer", "received_at", "id", "kind", "name", "happened_at", "event"
        ),
    )  # fmt: skip
    await pool.execute("VACUUM ANALYZE history")


async def backtests(count: int) -> dict[str, Any]:
    loaded = load_workspace(draft())
    assert not loaded.problems
    rounds: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="dangol-bench-") as name:
        server = embedded.start(Path(name) / "data")
        try:
            await migrate(server.dsn, PARTITIONS)
            pool = await open_pool(server.dsn, size=4, name="bench")
            now = wall_clock()
            await apply(pool, read_folder(SHOP), "bench", REAL)
            await fill(pool, count, now)
            for _round in range(ROUNDS):
                speed = machine.speed()
                found = await backtest(pool, loaded, SPAN, now, lambda _met, _all: None)
                rounds.append(
                    {
                        "seconds": round(found.seconds, 2),
                        "events_per_second": round(found.events / found.seconds),
                        "replayed": found.replayed,
                        "sent_by_draft": found.report["total"]["draft"]["sent"],
                        "sent_by_live": found.report["total"]["live"]["sent"],
                        "machine_speed": round(speed),
                    }
                )
                print(rounds[-1], flush=True)
            await pool.close()
        finally:
            embedded.stop(server)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "events": count,
        "customers": count // 20,
        "median_events_per_second": statistics.median(r["events_per_second"] for r in rounds),
        "peak_memory_megabytes": round(peak / 1024),
        "rounds": rounds,
    }


def simulated() -> dict[str, Any]:
    """`dangol simulate`, the reading of its file included."""
    lines = [_line(event) for event in events(SIMULATED, datetime(2026, 3, 1, tzinfo=UTC))]
    loaded = load_workspace(read_folder(SHOP))
    speed, began = machine.speed(), time.perf_counter()
    rows = sum(1 for _ in simulate(loaded.flows, loaded.settings, lines))
    seconds = time.perf_counter() - began
    return {
        "events": SIMULATED,
        "messages": rows,
        "seconds": round(seconds, 2),
        "machine_speed": round(speed),
    }


def _line(event: Event) -> bytes:
    wire: dict[str, Any] = {
        "type": event.kind,
        "userId": event.user_id,
        "messageId": event.id,
        "timestamp": event.timestamp.isoformat(),
        "context": event.context,
    }
    if event.kind == "identify":
        wire["traits"] = event.traits
    else:
        wire |= {"event" if event.kind == "track" else "name": event.name}
        wire["properties"] = event.properties
    return json.dumps(wire).encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    options = parser.parse_args()
    found = {
        "machine": machine.describe(),
        "simulate": simulated(),
        "backtest": uvloop.run(backtests(options.events)),
    }
    print(json.dumps(found, indent=2))
    if options.events == 200_000:
        RESULTS.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
