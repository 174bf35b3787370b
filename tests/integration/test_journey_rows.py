"""What a commit copies in is what the tables have afterwards, value by value."""

from datetime import UTC, datetime, timedelta

import msgspec

from services.journey import rows
from services.journey.batch import Batch
from services.journey.core.effects import QueueMessage
from services.journey.core.state import Customer, Member, State, unpack
from shared import message
from shared.db.connect import Pool
from shared.db.copying import copy_in
from shared.message import MessageContext

_NOW = datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC)
_NAMES = ("", "cust_1", "단골 🙂", "x" * 300, 'a"b\\c\td')


def _batch() -> Batch:
    return Batch(
        partition=3,
        partitions=4,
        epoch=1,
        stamp=0,
        offset=1,
        log_time=_NOW,
        recorded_at=_NOW,
        offered=False,
    )


async def test_history(pool: Pool) -> None:
    event = msgspec.json.encode({"properties": {"이름": "값", "n": 1.5}})
    moments = (_NOW, datetime(1999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC))
    wanted = [
        (3, name, _NOW, f"id-{name}", kind, name, at, event)
        for name in _NAMES
        for kind, at in zip(("track", "page"), moments, strict=True)
    ]
    async with pool.acquire() as connection:
        await copy_in(connection, "history", rows.HISTORY, rows.history(wanted))
    found = await pool.fetch(f"SELECT {', '.join(rows.HISTORY)} FROM history")
    kept = [(*row[:-1], msgspec.json.decode(row[-1])) for row in wanted]
    assert sorted(map(tuple, found), key=repr) == sorted(kept, key=repr)


async def test_customers(pool: Pool) -> None:
    state = State(seen={1: 2}, members={"j": Member(7, True)}, armed_at=_NOW)
    new = [Customer(name, {"이름": [name, None, 1]} if name else {}, state) for name in _NAMES]
    async with pool.acquire() as connection:
        await copy_in(connection, "customers", rows.CUSTOMERS, rows.customers(3, new))
    found = await pool.fetch("SELECT partition, id, traits, state, members, rfm FROM customers")
    assert {r["id"]: Customer(r["id"], r["traits"], unpack(r["state"])) for r in found} == {
        customer.id: customer for customer in new
    }
    assert {(r["partition"], r["rfm"], msgspec.json.encode(r["members"])) for r in found} == {
        (3, None, b'{"j":[7,true]}')
    }


async def test_timers(pool: Pool) -> None:
    new = [(_NOW + timedelta(days=place), name) for place, name in enumerate(_NAMES)]
    async with pool.acquire() as connection:
        await copy_in(connection, "timers", rows.TIMERS, rows.timers(3, new))
    found = await pool.fetch("SELECT partition, due_at, customer FROM timers ORDER BY due_at")
    assert [tuple(row) for row in found] == [(3, due, name) for due, name in new]


async def test_messages(pool: Pool) -> None:
    batch = _batch()
    for place, name in enumerate(_NAMES):
        made = QueueMessage(
            id=f"m{place}",
            run_id=f"run {name}",
            journey=f"journey {place % 2}",
            version=place % 2 + 1,
            step="s",
            category="transactional" if place % 2 else "marketing",
            priority=-5,
            held_out=place == 3,
            channels=("email", "알림톡")[: place % 2 + 1],
            template=f"t{place % 2}",
            context=MessageContext(trigger={"이름": name}, title=name),
            at=_NOW + timedelta(microseconds=place),
        )
        batch.messages.append(made)
        batch.customers_of[made.id] = name
    async with pool.acquire() as connection:
        await copy_in(connection, "messages", rows.MESSAGES, rows.messages(batch, "staged"))
    found = await pool.fetch("SELECT * FROM messages ORDER BY id")
    for row, made in zip(found, batch.messages, strict=True):
        kept = msgspec.structs.asdict(made)
        at, context = kept.pop("at"), kept.pop("context")
        assert {name: row[name] for name in kept} == kept | {"channels": list(made.channels)}
        assert message.unpack(row["context"]) == context
        assert {row["created_at"], row["decidable_at"], row["not_before"]} == {at}
        assert (row["partition"], row["customer"]) == (3, batch.customers_of[made.id])
        assert (row["status"], row["attempts"], row["passed_over"]) == ("staged", 0, [])
