"""A backup of the embedded database is restored as the manual says: who was erased stays erased."""

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path

import httpx

from shared.db.embedded import connect_or_start
from shared.db.pgdata import program
from tests.acceptance.test_up import SIGN_UP, decided, write_workspace
from tests.patience import SOON
from tests.processes import ADMIN_TOKEN, Dangol

_HEADERS = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


async def run(*command: str | Path) -> str:
    done = await asyncio.to_thread(
        subprocess.run, [str(each) for each in command], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


async def erased(client: httpx.AsyncClient, url: str) -> dict[str, object]:
    async with asyncio.timeout(SOON):
        while True:
            receipt: dict[str, object] = (await client.get(url)).json()
            if receipt.get("state") == "erased":
                return receipt
            await asyncio.sleep(0.05)


def restore(data: Path, dump: Path) -> None:
    """The steps of docs/embedded-postgres.md."""
    with connect_or_start(data) as server:
        subprocess.run(
            [program("pg_restore"), "--dbname", server.dsn, "--single-transaction", dump],
            check=True,
        )


async def test_whom_a_restored_backup_brings_back_is_erased_at_the_start(tmp_path: Path) -> None:
    dangol = Dangol(tmp_path / "data", write_workspace(tmp_path / "workspace"))
    await dangol.start()
    async with httpx.AsyncClient(base_url=dangol.url, headers=_HEADERS, timeout=SOON) as client:
        await dangol.post(client, *SIGN_UP)
        await decided(dangol, client)
        dump = tmp_path / "dangol.dump"
        socket = (dangol.data / "postgres/postmaster.pid").read_text().splitlines()[4]
        await run(
            *(program("pg_dump"), "-h", socket, "-p", "5432", "-U", "postgres"),
            *("-Fc", "-f", dump, "postgres"),
        )
        asked = (await client.delete("/api/customers/u1")).json()
        assert asked["ledger"] == "kept"
        first = await erased(client, f"/api/erasures/{asked['id']}")
        exported = await run(
            *(Path(sys.executable).parent / "dangol", "erasures", "export", "--data", dangol.data)
        )
        ledger = dangol.data / "erasures.ndjson"
        assert json.loads(exported) == json.loads(ledger.read_text())
        assert await dangol.stop() == 0

        shutil.rmtree(dangol.data / "postgres")
        await asyncio.to_thread(restore, dangol.data, dump)
        await dangol.start()
        again = await erased(client, f"/api/erasures/{asked['id']}")
        assert again["customer_hash"] == first["customer_hash"]
        customer = (await client.get("/api/customers/u1")).json()
        assert customer.get("traits", {}) == {}
        assert "u1@shop.example" not in json.dumps(await dangol.messages(client))
        assert await dangol.stop() == 0
    assert "erased again" in dangol.log.read_text()
