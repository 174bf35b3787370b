"""A running Dangol on a fresh database, whose log can be away and which can be restarted."""

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from shared.db.connect import Pool, open_pool
from shared.event import Event, decode
from tests.conftest import fresh_database
from tests.patience import SOON
from tests.processes import Dangol

_BREAK = """
CREATE FUNCTION away() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'away for maintenance' USING ERRCODE = 'cannot_connect_now'; END $$;
CREATE TRIGGER away BEFORE INSERT ON log FOR EACH STATEMENT EXECUTE FUNCTION away();
"""
_MEND = "DROP TRIGGER away ON log; DROP FUNCTION away();"
_SENT = """
SELECT event->'properties'->>'n' AS n FROM history
WHERE customer = $1 AND kind = 'track' AND name = 'Sent'
"""
_ALL = """
SELECT payload, received_at FROM log
WHERE convert_from(payload, 'UTF8')::jsonb->>'user_id' = $1 ORDER BY partition, log_offset
"""


@dataclass
class House:
    """A running Dangol whose socket is held by somebody else, as systemd would hold it."""

    dangol: Dangol
    pool: Pool

    async def sent(self, user: str) -> list[int]:
        """The numbers of the customer's events in the history, as often as they are there."""
        return sorted(int(row["n"]) for row in await self.pool.fetch(_SENT, user))

    async def events(self, user: str) -> list[Event]:
        """All that the log has of the customer, in the order of its arrival."""
        rows = await self.pool.fetch(_ALL, user)
        return [decode(row["payload"], row["received_at"]) for row in rows]

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """Meanwhile PostgreSQL takes nothing into the log, in the words of a server in trouble."""
        await self.pool.execute(_BREAK)
        try:
            yield
        finally:
            await self.pool.execute(_MEND)

    async def troubles(self) -> float:
        """Requests that have met trouble: answered 503, or waiting for its end."""
        held = await self._metric("dangol_ingest_held ")
        return held + await self._metric("dangol_ingest_requests_total", 'status="503"')

    async def batches(self) -> float:
        """Requests that came with several events."""
        return await self._metric("dangol_ingest_requests_total", 'route="batch",status="200"')

    async def _metric(self, name: str, labels: str = "") -> float:
        async with httpx.AsyncClient(timeout=SOON) as client:
            text = (await client.get(f"{self.dangol.url}/metrics")).text
        return sum(
            float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.startswith(name) and labels in line
        )


@asynccontextmanager
async def open_house(postgres: str, folder: Path) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        dsn = await stack.enter_async_context(fresh_database(postgres))
        pool = await open_pool(dsn, size=2, name="test")
        stack.push_async_callback(pool.close)
        sock = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=512))
        dangol = Dangol(
            folder / "data",
            environment={"DANGOL_DATABASE_URL": dsn},
            port=sock.getsockname()[1],
            passed=sock,
        )
        await dangol.start()
        stack.push_async_callback(dangol.stop)
        yield House(dangol, pool)
