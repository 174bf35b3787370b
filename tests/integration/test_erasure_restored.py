"""A backup from before an erasure is restored: the ledger outside the database erases again."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.cli.erasure_checkup import check_erasures
from services.console.app import Console, create_app
from services.console.erasing_again import Again, erase_again, look, tell_ledger
from services.console.erasure_ledger import Ledger
from shared.clock import REAL
from shared.db.connect import Pool, engine_for, open_pool
from shared.db.pgdata import program
from shared.event import partition_of
from shared.keys import KeyRing
from tests.conftest import PARTITIONS, empty_database
from tests.integration.consoling import ADMIN, zipped
from tests.integration.test_erasure import FILES, House, a_life, said


@asynccontextmanager
async def api_of(dsn: str, pool: Pool, ledger: Ledger | None) -> AsyncIterator[httpx.AsyncClient]:
    engine = engine_for(dsn)
    ring = KeyRing(pool, write_keys=[], admin_token=ADMIN)
    app = create_app(Console(pool, engine, ring, REAL, ledger))
    headers = {"Authorization": f"Bearer {ADMIN}"}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://dangol.test", headers=headers
    ) as api:
        yield api
    await engine.dispose()


@asynccontextmanager
async def running(house: House) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    task = asyncio.create_task(house.run(stopping))
    try:
        yield
    finally:
        stopping.set()
        await task


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "erasures.ndjson")


@pytest.fixture
async def house(pool: Pool, dsn: str, ledger: Ledger) -> AsyncIterator[House]:
    async with api_of(dsn, pool, ledger) as api:
        assert (await api.put("/api/workspace", content=zipped(FILES))).status_code == 200
        yield House(pool, dsn, api)


async def backup(dsn: str, file: Path) -> None:
    await run("pg_dump", "--format=custom", f"--file={file}", f"--dbname={dsn}")


async def run(name: str, *arguments: str) -> None:
    done = await asyncio.to_thread(
        subprocess.run, [str(program(name)), *arguments], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


@asynccontextmanager
async def restored(postgres: str, file: Path, ledger: Ledger) -> AsyncIterator[House]:
    """A house on the backup, not yet running."""
    async with empty_database(postgres) as dsn:
        await run("pg_restore", "--single-transaction", f"--dbname={dsn}", str(file))
        pool = await open_pool(dsn, size=10, name="restored")
        async with api_of(dsn, pool, ledger) as api:
            yield House(pool, dsn, api)
        await pool.close()


async def erased_again(house: House, ledger: Ledger) -> Again:
    return await erase_again(house.pool, ledger.read(), REAL)


async def test_whom_a_backup_brings_back_is_erased_again(
    house: House, postgres: str, ledger: Ledger, tmp_path: Path
) -> None:
    file = tmp_path / "before.dump"
    async with running(house):
        await a_life(house)
        await backup(house.dsn, file)
        receipt = await house.erase()
        assert await house.mentions("Zoe") == []
    assert receipt["ledger"] == "kept"
    assert "ann-42" not in ledger.path.read_text()
    async with restored(postgres, file, ledger) as again:
        assert "messages" in await again.mentions("Zoe"), "the backup holds her"
        [finding] = await check_erasures(again.pool, ledger)
        assert (finding.verdict, "reapply" in finding.hint) == ("fail", True)
        found = await erased_again(again, ledger)
        assert (found.in_ledger, found.missing, found.foreign) == (1, 1, 0)
        # Before the engine runs: nobody is written to meanwhile.
        waiting = "SELECT customer FROM messages WHERE status IN ('staged', 'queued')"
        assert [row["customer"] for row in await again.pool.fetch(waiting)] == ["bob"]
        async with running(again):
            await again.until(
                "SELECT erased_at IS NOT NULL FROM erasures WHERE id = $1", receipt["id"]
            )
            await again.caught_up()
            assert await again.mentions("Zoe") == []
            left = await again.mentions("ann-42")
            assert set(left) <= {"customers", "timers", "erasures"}
            bob = "SELECT count(*) FROM messages WHERE customer = 'bob' AND status = 'queued'"
            assert await again.pool.fetchval(bob) == 1, "somebody else is left alone"
            told = (await again.api.get(f"/api/erasures/{receipt['id']}")).json()
            assert (told["state"], told["ledger"]) == ("erased", "kept")
            assert told["requested_at"] == receipt["requested_at"]
            assert {row["table"] for row in told["erased"]} >= {"history", "messages"}
            [finding] = await check_erasures(again.pool, ledger)
            assert finding.verdict == "ok"
            # A new life of hers is not touched by another start.
            await again.log.append([said(name="Added", properties={"cart": "new"})])
            await again.until("SELECT count(*) = 1 FROM messages WHERE customer = 'ann-42'")
            assert (await erased_again(again, ledger)).missing == 0
            await again.caught_up()
            assert (await again.api.get("/api/customers/ann-42")).json()["runs"] != []


async def test_a_backup_from_before_an_id_was_linked_loses_what_the_id_held(
    house: House, postgres: str, ledger: Ledger, tmp_path: Path
) -> None:
    file = tmp_path / "before.dump"
    guest = said("identify", who=None, anonymous_id="device-9", traits={"email": "zoe@Zoe"})
    async with running(house):
        await house.log.append([guest])
        await house.caught_up()
        await backup(house.dsn, file)
        await house.log.append([said("identify", anonymous_id="device-9", traits={"n": "Zoe"})])
        await house.until("SELECT count(*) = 1 FROM customers WHERE forwarded_to = 'ann-42'")
        await house.caught_up()
        await house.erase()
    async with restored(postgres, file, ledger) as again:
        assert await again.mentions("Zoe") != []
        found = await erased_again(again, ledger)
        assert (found.missing, found.customers) == (1, 1)
        async with running(again):
            await again.caught_up()
            await again.until("SELECT count(*) = 1 FROM erased_parts")
            assert await again.mentions("Zoe") == []


async def test_what_the_engine_had_not_read_yet_begins_nobody(
    house: House, postgres: str, ledger: Ledger, tmp_path: Path
) -> None:
    file = tmp_path / "before.dump"
    await house.log.append([said("identify", traits={"email": "zoe@Zoe"})])
    await backup(house.dsn, file)
    async with running(house):
        await house.caught_up()
        await house.erase()
    async with restored(postgres, file, ledger) as again:
        assert (await erased_again(again, ledger)).customers == 1
        async with running(again):
            await again.until("SELECT bool_and(erased_at IS NOT NULL) FROM erasures")
            await again.caught_up()
            assert await again.mentions("Zoe") == []


async def test_of_somebody_whom_the_backup_does_not_hold_nothing_is_asked(
    house: House, postgres: str, ledger: Ledger, tmp_path: Path
) -> None:
    file = tmp_path / "before.dump"
    await backup(house.dsn, file)
    async with running(house):
        await a_life(house)
        receipt = await house.erase()
    async with restored(postgres, file, ledger) as again:
        found = await erased_again(again, ledger)
        assert (found.missing, found.customers) == (1, 0)
        assert await again.pool.fetchval("SELECT count(*) FROM log_outbox") == 0
        told = (await again.api.get(f"/api/erasures/{receipt['id']}")).json()
        assert (told["state"], told["erased"], told["ids"]) == ("erased", [], 0)


async def test_what_the_ledger_was_not_told_it_is_told_later(
    house: House, ledger: Ledger, dsn: str, pool: Pool
) -> None:
    async with running(house):
        async with api_of(dsn, pool, Ledger(ledger.path.parent / "no folder" / "x")) as elsewhere:
            asked = (await elsewhere.delete("/api/customers/ann-42")).json()
            assert asked["ledger"] == "missing"
        await house.caught_up()
        [finding] = await check_erasures(pool, ledger)
        assert (finding.verdict, "lacks 1" in finding.message) == ("warn", True)
        assert await tell_ledger(pool, ledger) == 1
        assert await tell_ledger(pool, ledger) == 0
        assert list(ledger.read()) == [asked["id"]]
        assert (await look(pool, ledger.read())).missing == 0


async def test_another_installations_ledger_erases_nobody(
    house: House, ledger: Ledger, pool: Pool
) -> None:
    await pool.execute(
        "UPDATE meta SET value = to_jsonb(repeat('ab', 32)) WHERE key = 'address_key'"
    )
    async with running(house):
        await house.erase()
    await pool.execute(
        "UPDATE meta SET value = to_jsonb(repeat('cd', 32)) WHERE key = 'address_key'"
    )
    await pool.execute("DELETE FROM erasures")
    found = await erased_again(house, ledger)
    assert (found.in_ledger, found.missing, found.foreign) == (0, 0, 1)
    findings = await check_erasures(pool, ledger)
    assert [f.verdict for f in findings] == ["warn"]


async def test_erasures_that_stand_in_the_database_alone_are_told(house: House) -> None:
    assert await check_erasures(house.pool, None) == []
    async with running(house):
        await house.erase()
    [finding] = await check_erasures(house.pool, None)
    assert (finding.verdict, "DANGOL_ERASURE_LEDGER" in finding.hint) == ("warn", True)


def receipt_rows(receipt: dict[str, Any]) -> dict[str, tuple[int, str]]:
    return {row["table"]: (row["rows"], row["how"]) for row in receipt["erased"]}


async def test_a_receipt_says_what_was_erased_where(house: House) -> None:
    async with running(house):
        await a_life(house)
        linked = "SELECT count(*) = 1 FROM customers WHERE forwarded_to = 'ann-42'"
        await house.until(linked)
        history = await house.pool.fetchval(
            "SELECT count(*) FROM history WHERE customer = 'ann-42'"
        )
        partition = partition_of("ann-42", PARTITIONS)
        timers = await house.pool.fetchval(
            "SELECT count(*) FROM timers WHERE partition = $1 AND customer = 'ann-42'", partition
        )
        asked = await house.erase()
        await house.until("SELECT count(*) = 2 FROM erased_parts")
        receipt = (await house.api.get(f"/api/erasures/{asked['id']}")).json()
    assert receipt["ids"] == 2, "hers and the device's"
    rows = receipt_rows(receipt)
    assert rows["history"] == (history, "deleted")
    assert rows["messages"] == (2, "emptied")
    assert rows["attempts"] == (1, "emptied")
    assert rows["conversions"] == (2, "renamed")
    assert rows["consents"] == (1, "deleted")
    assert rows["cap_places"] == (1, "deleted")
    assert rows.get("timers", (0, ""))[0] >= min(timers, 1)
    assert rows["customers"] == (2, "emptied")
