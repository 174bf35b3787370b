"""The scale of the language: how long many journeys take to read, and what they cost an event.

    python -m bench.language

A workspace of 500 journeys is checked and compiled. Events that concern no journey are decided with
20 journeys and with 1,000: in memory, and by the whole engine (log, decisions, one transaction a
batch) on PostgreSQL. Rounds take turns; the least of five is told: neighbours only ever add.
"""

import asyncio
import json
import logging
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from bench import machine
from services.console.publish import apply
from services.journey.batch import Batch
from services.journey.core.book import Book, Edition
from services.journey.core.history import Needs
from services.journey.core.state import Customer, State
from services.journey.deciding import Deciding, readable
from services.journey.language.expressions import parse
from services.journey.language.workspace import load_workspace
from services.journey.library import Library
from services.journey.partition import Engine, PartitionOwner
from services.journey.store import Store
from shared.clock import EPOCH, REAL
from shared.db import embedded
from shared.db.connect import open_pool
from shared.db.migrate import migrate
from shared.db.wakeups import Wakeups
from shared.event import Event, encode
from shared.log.port import Record
from shared.log.postgres import CHANNEL, PostgresLog, PostgresLogReader

RESULTS = Path(__file__).parent / "results" / "language.json"
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
FEW, MANY = 20, 1_000
EVENTS, BATCH, CUSTOMERS = 10_000, 500, 2_000
ROUNDS = 5

_SETTINGS = "channels: {email: {adapter: log}, sms: {adapter: log}, push: {adapter: log}}\n"
_TEMPLATES = {
    "templates/cart/email.liquid": "---\nsubject: Hello\n---\n<p>Hello {{ profile.name }}</p>\n",
    "templates/cart/sms.liquid": "Hello {{ profile.name }}\n",
    "templates/cart/push.liquid": "---\ntitle: Hello\n---\nHello {{ profile.name }}\n",
}
_HEAD = """\
journey: cart-{n}
title: Reminder {n}
priority: 50
trigger:
  event: Product Added {n}
  where: event.price >= 1{n} and event.currency == "KRW"
entry:
  key: event.cart_id
  when_active: restart
  reentry: 3d
  where: profile.email != null and count("Order Completed {n}", within="30d") < 3
exit:
  - event: Order Completed {n}
    where: event.cart_id == trigger.cart_id
goal:
  event: Order Completed {n}
  where: event.cart_id == trigger.cart_id
  within: 3d
  value: event.total
steps:
"""
_STEPS = """\
  - wait: 1h
  - send: push
    template: cart
  - wait: 22h
  - branch:
      - when: profile.tier in ["gold", "vip"] or trigger.price >= 1{n}00{k}
        steps:
          - send: email
            else: sms
            template: cart
      - otherwise:
          - split:
              - {{variant: a, weight: 50, steps: [{{send: email, template: cart}}]}}
              - {{variant: b, weight: 50, steps: [{{send: sms, template: cart}}]}}
"""


def workspace(journeys: int) -> dict[str, bytes]:
    """Journeys of 58 lines, no two of which have the same conditions."""
    texts = {
        f"journeys/cart-{n}.yaml": _HEAD.format(n=n)
        + "".join(_STEPS.format(n=n, k=k) for k in range(3))
        for n in range(journeys)
    }
    files = {"dangol.yaml": _SETTINGS, **_TEMPLATES, **texts}
    return {name: text.encode() for name, text in files.items()}


def validated(journeys: int) -> float:
    """CPU seconds from files to flows."""
    files = workspace(journeys)
    parse.cache_clear()
    started = time.process_time()
    found = load_workspace(files)
    assert not found.problems
    assert len(found.flows) == journeys
    return time.process_time() - started


def _book(journeys: int) -> Book:
    flows = load_workspace(workspace(journeys)).flows
    edition = Edition.of(EPOCH, flows.values())
    needs = Needs(need for flow in flows.values() for need in flow.needs)
    return Book([edition], {(name, 0): flow for name, flow in flows.items()}, needs=needs)


def _events() -> list[Event]:
    return [
        Event(
            id=f"e{n}",
            kind="track",
            name="Page Scrolled",
            timestamp=NOW + timedelta(milliseconds=n),
            user_id=f"c{n % CUSTOMERS}",
            properties={"path": f"/products/{n % 97}", "depth": n % 100, "seconds": n / 7},
        )
        for n in range(EVENTS)
    ]


def decided(book: Book, events: Sequence[Event]) -> float:
    """Microseconds of CPU an event, from the log's record to what is to be stored."""
    records = [
        Record(0, n, NOW + timedelta(milliseconds=n), encode(event))
        for n, event in enumerate(events)
    ]
    people = {
        name: Customer(name, {"email": f"{name}@shop.example"}, State(needs=book.needs.id))
        for name in {event.customer for event in events}
    }
    started = time.process_time()
    for start in range(0, len(records), BATCH):
        batch = Batch(0, 1, 1, 1, start + BATCH, NOW, NOW, offered=True)
        given, _ = readable(records[start : start + BATCH])
        deciding = Deciding(book, batch, {each.customer: people[each.customer] for each in given})
        for each in given:
            deciding.event(each)
        people.update(deciding.finish(()).changed)
    return (time.process_time() - started) / len(records) * 1e6


async def engine(journeys: int) -> float:
    """Microseconds of the worker's CPU an event: read, decided and committed by one owner."""
    with tempfile.TemporaryDirectory(prefix="dangol-bench-") as folder:
        server = embedded.start(Path(folder))
        try:
            await migrate(server.dsn, 1)
            return await _through(server.dsn, journeys)
        finally:
            embedded.stop(server)


async def _through(dsn: str, journeys: int) -> float:
    pool = await open_pool(dsn, size=4, name="bench")
    await apply(pool, workspace(journeys), "bench", REAL)
    log = PostgresLog(pool, 1, REAL)
    events = _events()
    for start in range(0, len(events), BATCH):
        await log.append(events[start : start + BATCH])
    library = Library(pool)
    await library.refresh()
    reader = PostgresLogReader(pool, Wakeups(dsn, [CHANNEL]), 1, "bench", REAL)
    owner = PartitionOwner(0, Engine("bench", reader, Store(pool), library, REAL, 1, BATCH, 50_000))
    stopping = asyncio.Event()
    started = time.process_time()
    running = asyncio.create_task(owner.run(stopping))
    while await pool.fetchval("SELECT log_offset FROM partitions") < len(events):  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    seconds = time.process_time() - started
    stopping.set()
    await running
    await pool.close()
    return seconds / len(events) * 1e6


def _compared(few: list[float], many: list[float]) -> dict[str, float]:
    a, b = min(few), min(many)
    return {
        "journeys_20_us": round(a, 1),
        "journeys_1000_us": round(b, 1),
        "ratio": round(b / a, 2),
    }


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    speed = machine.speed()
    reading = [validated(500) for _ in range(ROUNDS)]
    events = _events()
    books = {number: _book(number) for number in (FEW, MANY)}
    memory: dict[int, list[float]] = {FEW: [], MANY: []}
    whole: dict[int, list[float]] = {FEW: [], MANY: []}
    for _ in range(ROUNDS):
        for number in (FEW, MANY):
            memory[number].append(decided(books[number], events))
    for _ in range(ROUNDS):
        for number in (FEW, MANY):
            whole[number].append(asyncio.run(engine(number)))
    record = {
        "machine": machine.describe(),
        "machine_speed": [round(speed), round(machine.speed())],
        "validate_500_journeys_cpu_seconds": round(min(reading), 2),
        "lines_a_journey": len(workspace(1)["journeys/cart-0.yaml"].splitlines()),
        "event_of_no_journey_in_memory": _compared(memory[FEW], memory[MANY]),
        "event_of_no_journey_whole_engine": _compared(whole[FEW], whole[MANY]),
    }
    RESULTS.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
