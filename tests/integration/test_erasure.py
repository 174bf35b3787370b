"""Erasing and exporting a customer, through the API, the log, the engine and every table."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest

from services.dispatch import sql
from services.journey.core.state import unpack
from services.journey.library import Library
from services.journey.maintenance import Maintenance
from services.journey.partition import Engine
from services.journey.store import Store
from services.journey.worker import Worker
from shared import message, workspace_store
from shared.clock import REAL, Clock, wall_clock
from shared.db.connect import Pool
from shared.db.wakeups import Wakeups
from shared.erasure import LOG_RETENTION
from shared.event import Event, partition_of
from shared.log.outbox import CHANNEL as OUTBOX
from shared.log.outbox import Relay
from shared.log.postgres import CHANNEL, PostgresLog, PostgresLogReader
from tests.conftest import PARTITIONS
from tests.integration.consoling import client, zipped
from tests.patience import SOON

JOURNEY = """
journey: cart
trigger: {event: Added}
entry: {key: event.cart, reentry: 1h}
goal: {event: Bought, value: event.total}
steps:
  - {send: email, template: hello, id: nudge}
  - wait: 1h
"""
SETTINGS = b"policies: {consent: assumed}\nchannels:\n  email: {adapter: log}\n"
TEMPLATE = b"---\nsubject: Hello\n---\n<p>Hello</p>\n"
FILES = {
    "dangol.yaml": SETTINGS,
    "templates/hello/email.liquid": TEMPLATE,
    "journeys/cart.yaml": JOURNEY.encode(),
}
_numbers = iter(range(1_000_000))


def said(kind: Any = "track", name: str = "", who: str | None = "ann-42", **fields: Any) -> Event:
    return Event(
        id=f"m{next(_numbers)}", kind=kind, name=name, timestamp=wall_clock(), user_id=who, **fields
    )


class House:
    def __init__(self, pool: Pool, dsn: str, api: httpx.AsyncClient) -> None:
        self.pool = pool
        self.dsn = dsn
        self.api = api
        self.log = PostgresLog(pool, PARTITIONS)
        wakeups = Wakeups(dsn, [CHANNEL, OUTBOX, workspace_store.CHANNEL])
        reader = PostgresLogReader(pool, wakeups, PARTITIONS, "w1")
        engine = Engine("w1", reader, Store(pool), Library(pool), REAL, PARTITIONS, 500, 1000)
        self._worker = Worker(engine, wakeups.listen(workspace_store.CHANNEL))
        self._relay = Relay(pool, self.log, wakeups.listen(OUTBOX))
        self._wakeups = wakeups

    async def run(self, stopping: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            for part in (self._worker, self._relay, self._wakeups):
                group.create_task(part.run(stopping))

    async def until(self, query: str, *arguments: Any) -> None:
        async with asyncio.timeout(SOON):
            while not await self.pool.fetchval(query, *arguments):
                await asyncio.sleep(0.02)

    async def caught_up(self) -> None:
        await self.until(
            "SELECT bool_and(p.log_offset = h.next_offset - 1)"
            " AND NOT EXISTS (SELECT FROM log_outbox)"
            " FROM partitions p JOIN log_heads h ON h.partition = p.id"
        )

    async def erase(self, who: str = "ann-42") -> dict[str, Any]:
        asked = (await self.api.delete(f"/api/customers/{who}")).json()
        await self.until("SELECT erased_at IS NOT NULL FROM erasures WHERE id = $1", asked["id"])
        await self.caught_up()
        found: dict[str, Any] = (await self.api.get(f"/api/erasures/{asked['id']}")).json()
        return found

    async def mentions(self, word: str) -> list[str]:
        """The tables, the log apart, in which the word stands."""
        tables = await self.pool.fetch(
            "SELECT c.relname AS name FROM pg_class c WHERE c.relkind = 'r'"
            " AND c.relnamespace = 'public'::regnamespace AND c.relname <> 'log'"
        )
        found = []
        for table in (row["name"] for row in tables):
            rows = await self.pool.fetch(f"SELECT * FROM {table}")
            values = [value for row in rows for value in row.values()]
            if any(word in str(value) or word.encode() in _bytes(value) for value in values):
                found.append(table)
        return sorted(set(found))


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else b""


@pytest.fixture
async def house(pool: Pool, dsn: str) -> AsyncIterator[House]:
    async with client(dsn, pool) as api:
        assert (await api.put("/api/workspace", content=zipped(FILES))).status_code == 200
        made = House(pool, dsn, api)
        stopping = asyncio.Event()
        running = asyncio.create_task(made.run(stopping))
        yield made
        stopping.set()
        await running


async def a_life(house: House) -> None:
    """A customer of whom every table holds something; `Zoe` stands for whatever is personal."""
    await house.log.append(
        [
            said("identify", traits={"email": "zoe@Zoe", "consent": {"email": True}}),
            said(name="Added", properties={"cart": "Zoe 1"}, anonymous_id="device-1"),
            said(name="Added", properties={"cart": "Zoe 2"}),
            said(name="Bought", properties={"total": 7}),
            said(name="Added", who="bob", properties={"cart": "b"}),
        ]
    )
    await house.until("SELECT count(*) = 3 FROM messages WHERE status = 'queued'")
    await house.caught_up()
    partition = partition_of("ann-42", PARTITIONS)
    first = await house.pool.fetchval(
        "UPDATE messages SET status = 'decided', decision = 'sent', decided_at = created_at,"
        " provider_id = 'Zoe', attempts = 1 WHERE ctid = (SELECT ctid FROM messages"
        " WHERE customer = 'ann-42' ORDER BY id LIMIT 1) RETURNING id"
    )
    await house.pool.execute(
        "INSERT INTO attempts (partition, message_id, number, channel, adapter, dispatcher,"
        " started_at, detail, provider_id) VALUES ($1, $2, 1, 'email', 'log', 'd', now(), 'Zoe',"
        " 'Zoe')",
        partition, first,
    )  # fmt: skip
    await house.pool.execute(
        "INSERT INTO cap_places VALUES ($1, 'ann-42', $2, now(), 'marketing', 'email')",
        partition, first,
    )  # fmt: skip


async def test_nothing_of_an_erased_customer_is_left_but_a_hash(house: House) -> None:
    await a_life(house)
    assert {"attempts", "customers", "messages"} <= set(await house.mentions("Zoe"))
    assert {"consents", "consent_ledger", "cap_places"} <= set(await house.mentions("ann-42"))
    receipt = await house.erase()
    assert receipt["state"] == "erased"
    assert await house.mentions("Zoe") == []
    left = await house.mentions("ann-42")
    assert set(left) <= {"customers", "timers", "erasures"}, "until the log's retention has passed"
    rows = await house.pool.fetch("SELECT * FROM messages WHERE erased")
    assert sorted((row["decision"], row["reason"]) for row in rows) == [
        ("dropped", "run_ended"),
        ("sent", None),
    ]
    assert {row["customer"] for row in rows} == {receipt["customer_hash"]}
    conversions = await house.pool.fetch("SELECT customer, value FROM conversions")
    assert {tuple(row) for row in conversions} == {(receipt["customer_hash"], 7.0)}
    assert await house.pool.fetchval("SELECT count(*) FROM messages WHERE customer = 'bob'") == 1
    kept = unpack(await house.pool.fetchval("SELECT state FROM customers WHERE id = 'bob'"))
    assert len(kept.runs) == 1, "somebody else is left alone"


async def test_the_id_itself_goes_when_the_logs_retention_has_passed(house: House) -> None:
    await a_life(house)
    receipt = await house.erase()
    partition = partition_of("ann-42", PARTITIONS)
    due = await house.pool.fetch("SELECT due_at FROM timers WHERE partition = $1", partition)
    erased_at = msgspec.convert(receipt["erased_at"], type=type(wall_clock()))
    assert [row["due_at"] for row in due if row["due_at"] == erased_at + LOG_RETENTION]
    later = Clock(wall_clock(), wall_clock() + LOG_RETENTION + timedelta(minutes=1))
    await Maintenance(house.pool, later, house.log).once()
    row = await house.pool.fetchrow("SELECT * FROM erasures")
    assert row is not None
    assert (row["customer"], row["customer_hash"]) == (None, receipt["customer_hash"])


async def test_what_was_received_before_is_discarded_however_late_it_comes(house: House) -> None:
    await a_life(house)
    receipt = await house.erase()
    erased_at = msgspec.convert(receipt["erased_at"], type=type(wall_clock()))
    forwarded = msgspec.structs.replace(
        said(name="Added", properties={"cart": "Zoe"}),
        received_at=erased_at - timedelta(milliseconds=1),
    )
    await house.log.append([forwarded])
    await house.caught_up()
    assert await house.mentions("Zoe") == []
    refused = "SELECT sum(n)::int FROM counts WHERE what = 'refused:erased'"
    assert await house.pool.fetchval(refused) == 1


async def test_later_events_begin_a_new_customer_without_consent(house: House) -> None:
    await a_life(house)
    await house.erase()
    await house.log.append([said(name="Added", properties={"cart": "new"})])
    await house.until("SELECT count(*) = 1 FROM messages WHERE customer = 'ann-42'")
    found = (await house.api.get("/api/customers/ann-42")).json()
    assert (found["traits"], found["consents"]) == ({}, [])
    assert [run["key"] for run in found["runs"]] == ["new"]


async def test_a_linked_id_is_erased_with_its_customer_and_erases_her(house: House) -> None:
    await a_life(house)
    await house.until(
        "SELECT count(*) = 1 FROM customers WHERE id = 'device-1' AND forwarded_to = 'ann-42'"
    )
    await house.erase("device-1")
    await house.until("SELECT bool_and(forwarded_to IS NULL) FROM customers")
    found = (await house.api.get("/api/customers/ann-42")).json()
    assert (found["traits"], found["runs"]) == ({}, [])


async def test_an_attempt_under_way_goes_on_to_its_outcome_and_no_further(house: House) -> None:
    """Rule 9: past recall once it is recorded; nothing of it is kept, and it is not tried again."""
    await a_life(house)
    ids = [
        row["id"]
        for row in await house.pool.fetch(
            "UPDATE messages SET status = 'attempting', claimed_by = 'd', attempts = 1"
            " WHERE customer IN ('ann-42', 'bob') AND status = 'queued' RETURNING id"
        )
    ]
    assert len(ids) == 2
    await house.pool.execute(
        "INSERT INTO attempts (partition, message_id, number, channel, adapter, dispatcher,"
        " started_at) SELECT partition, id, 1, 'email', 'log', 'd', now() FROM messages"
        " WHERE status = 'attempting'"
    )
    await house.erase()
    rows = await house.pool.fetch("SELECT * FROM messages WHERE status = 'attempting' ORDER BY id")
    assert len(rows) == 2
    now = wall_clock().isoformat()
    changes = [
        {
            "partition": row["partition"], "id": row["id"], "customer": "ann-42", "number": 1,
            "channel": "email", "not_before": now, "gives_back": False, "outcome": "retryable",
            "finished_at": now, "provider_id": "Zoe", "detail": "Zoe",
        }
        for row in rows
    ]  # fmt: skip
    told = await house.pool.fetch(sql.CHANGE, "d", "attempting", changes)
    after = {row["erased"]: row for row in await house.pool.fetch(
        "SELECT * FROM messages WHERE id = ANY($1::text[])", ids)}  # fmt: skip
    assert (after[True]["status"], after[True]["decision"]) == ("decided", "dropped")
    assert (after[True]["reason"], after[True]["provider_id"]) == ("run_ended", None)
    assert after[False]["status"] == "queued"
    assert [row["id"] for row in told] == [after[False]["id"]], "nobody waits for the other"
    details = await house.pool.fetch(
        "SELECT detail, outcome FROM attempts WHERE message_id = $1", after[True]["id"]
    )
    assert [tuple(row) for row in details] == [(None, "retryable")]


async def test_what_was_set_aside_of_an_erased_customer_goes_within_the_hour(house: House) -> None:
    await house.log.append([said(name="Added", who="ann-42", properties={"cart": "a\0"})])
    payloads = (
        b'{"userId": "ann-42", "x": [1',
        b'{"userId": "ann-42"}',
        b'{"userId": "xann-42"}',
        b'{"userId": "bob", "properties": {"friend": "ann-42"}}',
    )
    await house.pool.executemany(
        "INSERT INTO set_aside (at, source, reason, payload) VALUES (now(), 'ingest', 'x', $1)",
        [(payload,) for payload in payloads],
    )
    await house.caught_up()
    await house.erase()
    await Maintenance(house.pool, REAL, house.log).once()
    rows = await house.pool.fetch("SELECT payload FROM set_aside ORDER BY id")
    assert [row["payload"][:14] for row in rows] == [b'{"userId": "xa', b'{"userId": "bo']


async def test_an_export_holds_everything_that_is_kept(house: House) -> None:
    await a_life(house)
    response = await house.api.get("/api/customers/ann-42/export")
    assert response.status_code == 200
    found = json.loads(response.content)
    assert found["traits"]["email"] == "zoe@Zoe"
    assert [run["key"] for run in found["state"]["runs"]] == ["Zoe 1", "Zoe 2"]
    assert found["linked_ids"] in ([], ["device-1"])
    assert len(found["history"]) == 5, "and that a consent has changed"
    assert {row["event"].get("name", "") for row in found["history"]} == {
        "", "Added", "Bought", "Consent Changed",
    }  # fmt: skip
    assert [row["channel"] for row in found["consents"]] == ["email"]
    sent = next(row for row in found["messages"] if row["decision"] == "sent")
    assert sent["attempts"][0]["detail"] == "Zoe"
    assert sent["context"]["trigger"]["cart"].startswith("Zoe")
    assert [row["value"] for row in found["conversions"]] == [7.0, 7.0]
    assert len(found["cap_places"]) == 1
    nobody = await house.api.get("/api/customers/nobody/export")
    assert nobody.status_code == 404


async def test_an_unknown_erasure_is_not_found(house: House) -> None:
    assert (await house.api.get("/api/erasures/none")).status_code == 404


async def test_a_message_erased_in_the_queue_keeps_no_context(house: House) -> None:
    await a_life(house)
    await house.erase()
    contexts = await house.pool.fetch("SELECT context FROM messages WHERE erased")
    assert [message.unpack(row["context"]) for row in contexts] == [message.MessageContext()] * 2
