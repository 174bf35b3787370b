"""A database is restored beside a Kafka topic that went on: nothing is lost, or taken in twice."""

import asyncio
import json
import sys
from pathlib import Path

import asyncpg
import httpx
import pytest

from services.console.folder import read_folder
from services.console.publish import apply
from shared.clock import REAL
from shared.db.connect import Connection, Pool
from shared.db.pgdata import program
from tests.acceptance.test_restore import run
from tests.acceptance.test_up import write_workspace
from tests.conftest import empty_database
from tests.patience import SOON
from tests.processes import WRITE_KEY, Service

PARTS = ("ingest", "journey", "dispatch")
ANSWERED = """
journey: welcome
trigger: {event: Signed Up}
steps:
  - wait_for: {event: Answered, timeout: 7d}
    id: answer
    then:
      - {send: email, template: hello, id: hi}
"""


async def post(ingest: Service, kind: str, *customers: str) -> None:
    batch: list[dict[str, object]] = []
    for who in customers:
        traits = {"email": f"{who}@shop.example"}
        batch += [
            {"type": "identify", "messageId": f"i-{kind}-{who}", "userId": who, "traits": traits},
            {"type": "track", "messageId": f"t-{kind}-{who}", "userId": who, "event": kind},
        ]
    async with httpx.AsyncClient(auth=(WRITE_KEY, ""), timeout=SOON) as client:
        answer = await client.post(f"{ingest.url}/v1/batch", json={"batch": batch})
    assert answer.status_code == 200, answer.text


async def reached(connection: Connection, events: int, sent: int) -> None:
    """So many events in history and messages sent, in time; each of them once."""
    counts = (
        "SELECT (SELECT count(*) FROM history),"
        " (SELECT count(*) FROM messages WHERE decision = 'sent')"
    )
    async with asyncio.timeout(SOON):
        while tuple(await connection.fetchrow(counts) or ()) != (events, sent):
            await asyncio.sleep(0.05)
    assert await connection.fetchval("SELECT count(DISTINCT id) FROM history") == events
    assert await connection.fetchval("SELECT count(DISTINCT customer) FROM messages") == sent
    assert await connection.fetchval("SELECT count(*) FROM messages") == sent


async def start(environment: dict[str, str], folder: Path, name: str) -> dict[str, Service]:
    made = {part: Service(part, environment, folder / f"{name}-{part}.log") for part in PARTS}
    await asyncio.gather(*(service.start() for service in made.values()))
    await asyncio.gather(*(service.ready() for service in made.values()))
    return made


async def end(services: dict[str, Service], *, kill: bool = False) -> None:
    await asyncio.gather(*(service.end(kill=kill) for service in services.values()))


async def ids(connection: Connection) -> set[str]:
    return {row["id"] for row in await connection.fetch("SELECT id FROM messages")}


@pytest.mark.slow
async def test_what_came_after_the_backup_is_taken_in_again_from_kafka(
    postgres: str, dsn: str, pool: Pool, kafka_url: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    shop = write_workspace(tmp_path / "shop", journey=ANSWERED)
    await apply(pool, read_folder(shop), "test", REAL)
    early, late = [[f"{name}{n}" for n in range(5)] for name in ("early", "late")]
    dump = tmp_path / "dangol.dump"
    environment = {"DANGOL_DATABASE_URL": dsn, "DANGOL_LOG_URL": kafka_url}
    before = await start(environment, tmp_path, "before")
    try:
        async with pool.acquire() as connection:
            await post(before["ingest"], "Signed Up", *early)
            await post(before["ingest"], "Answered", early[0])
            await reached(connection, 12, 1)
            await run(program("pg_dump"), "-Fc", "--dbname", dsn, "-f", dump)
            await post(before["ingest"], "Signed Up", *late)
            await post(before["ingest"], "Answered", early[1], *late)
            await reached(connection, 34, 7)
            sent = await ids(connection)
    finally:
        await end(before, kill=True)

    async with empty_database(postgres) as other:
        await run(
            program("pg_restore"), "--single-transaction", "--no-owner", "--dbname", other, dump
        )
        environment = {"DANGOL_DATABASE_URL": other, "DANGOL_LOG_URL": kafka_url}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        said = json.loads(await run(Path(sys.executable).parent / "dangol", "restored", "--json"))
        assert said["accepted"] == []
        assert said["unread"] >= 22  # and the outcomes of the messages
        after = await start(environment, tmp_path, "after")
        looking = await asyncpg.connect(other)
        try:
            await reached(looking, 34, 7)
            assert await ids(looking) == sent, "made anew, a message has the id that it had"
            await post(after["ingest"], "Answered", early[2])
            await reached(looking, 36, 8)  # a run from before the backup goes on
        finally:
            await looking.close()
            await end(after)
