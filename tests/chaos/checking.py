"""The verdict over what a run has left in its folder; also long after it."""

import json
from collections.abc import Iterable, Set
from pathlib import Path
from typing import Any

from services.journey.library import Library
from shared import workspace_store
from shared.db import embedded
from shared.db.connect import Pool, open_pool
from shared.errors import ConfigurationError
from shared.log.port import Record
from shared.workspace import WorkspaceSettings
from tests.chaos import recorded
from tests.chaos.oracle import Oracle
from tests.chaos.servers import DATABASE, dsn_of
from tests.chaos.sink import received
from tests.chaos.tables import read_tables
from tests.chaos.verdict import Evidence, Verdict, judge


async def check_on(
    dsn: str, folder: Path, answered: Set[str], most_unknown: int, watched: str | None = None
) -> Verdict:
    """Judge the run whose database is at `dsn`. `watched`: a customer whose story is told."""
    pool = await open_pool(dsn, size=4, name="chaos")
    try:
        library = Library(pool)
        book = (await library.refresh()).book
        oracle = Oracle(book, watched)
        batches, aside = await recorded.batches(pool), await recorded.set_aside(pool)
        kept = folder / "log.kafka"
        stocks = recorded.kept_kafka(kept) if kept.exists() else None
        reached = {
            row["id"]: row["log_time"]
            for row in await pool.fetch("SELECT id, log_time FROM partitions ORDER BY id")
        }
        for number, until in reached.items():
            if stocks is None:
                records: Iterable[Record] = [r async for r in recorded.from_postgres(pool, number)]
            else:
                receipts = await recorded.told_receipts(pool, number)
                records = recorded.stamped(
                    stocks.get(number, []), batches.get(number, []), receipts
                )
            oracle.partition(number, recorded.decided(records, aside), until)
        settings = await _settings(pool)
        evidence = Evidence(
            oracle.expected, await read_tables(pool), received(folder / "mails"), batches,
            settings, answered, most_unknown,
        )  # fmt: skip
        verdict = judge(evidence)
        verdict.figures["story"] = oracle.story
        return verdict
    finally:
        await pool.close()


async def _settings(pool: Pool) -> WorkspaceSettings:
    async with pool.acquire() as connection:
        published = await workspace_store.newest(connection)
    assert published is not None, "the run published it"
    return published.settings


async def check_folder(folder: Path, customer: str | None, dsn: str | None = None) -> Verdict:
    """The same for a folder that a run has kept. `dsn`: of the database that it was given."""
    note: dict[str, Any] = json.loads((folder / "run.json").read_text())
    if "database" in note.get("given", ()):
        if dsn is None:
            raise ConfigurationError(
                "this run was on a database that was given to it", hint="add its --database-url"
            )
        return await check_on(dsn, folder, frozenset(), note["most_unknown"], customer)
    with embedded.connect_or_start(folder / "data") as server:
        dsn = dsn_of(server, DATABASE)
        return await check_on(dsn, folder, frozenset(), note["most_unknown"], customer)
