"""The statement that scores in SQL finds what the pure function finds, customer by customer."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import asyncpg
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.db.connect import Pool, open_pool
from shared.event import decode_unstamped
from shared.rfm import DAY, Purchase, scores, worth
from shared.rfm_scoring import score
from shared.workspace import RfmSettings
from tests.conftest import PARTITIONS, database_url
from tests.property.engine_journeys import START, profile

_values: st.SearchStrategy[Any] = st.one_of(
    st.integers(-5, 5), st.integers(-(2**63), 2**63 - 1), st.sampled_from((0.1, 0.2, 0.3, 1e300)),
    st.floats(allow_nan=False, allow_infinity=False), st.sampled_from((None, "7", True, [1], {})),
)  # fmt: skip
_ages = st.one_of(
    st.integers(-1, 12).map(lambda days: days * DAY),
    st.integers(0, 12 * 86_400).map(lambda seconds: timedelta(seconds=seconds)),
    st.timedeltas(-DAY, 12 * DAY),
)
_people = st.lists(
    st.lists(st.tuples(_ages, _values, st.sampled_from(("Bought", "Bought", "Seen"))), max_size=4),
    min_size=1,
    max_size=12,
)


class Bench:
    """A database of its own, and a loop to ask it in."""

    def __init__(self, server: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.pool: Pool = self.loop.run_until_complete(self._open(server))

    async def _open(self, server: str) -> Pool:
        connection = await asyncpg.connect(server)
        await connection.execute("DROP DATABASE IF EXISTS rfm_bench WITH (FORCE)")
        await connection.execute("CREATE DATABASE rfm_bench TEMPLATE dangol_template")
        await connection.close()
        return await open_pool(database_url(server, "rfm_bench"), size=2, name="rfm")

    async def scored(
        self, people: list[list[tuple[timedelta, Any, str]]], settings: RfmSettings
    ) -> dict[str, dict[str, Any]]:
        await self.pool.execute("TRUNCATE customers, history, log_outbox")
        for number, events in enumerate(people):
            name = f"c{number}"
            await self.pool.execute(
                "INSERT INTO customers (partition, id, state) VALUES (0, $1, '')", name
            )
            for place, (age, value, event) in enumerate(events):
                at = START - age
                await self.pool.execute(
                    "INSERT INTO history VALUES (0, $1, $2, $3, 'track', $4, $5, $6)",
                    name, min(at, START), f"e{place}", event, at,
                    msgspec.json.decode(msgspec.json.encode({"properties": {"total": value}})),
                )  # fmt: skip
        await score(self.pool, settings, START, PARTITIONS)
        rows = await self.pool.fetch("SELECT payload FROM log_outbox")
        events_ = [decode_unstamped(row["payload"]) for row in rows]
        return {event.customer: event.properties for event in events_}


@pytest.fixture(scope="module")
def bench(postgres: str) -> Iterator[Bench]:
    made = Bench(postgres)
    yield made
    made.loop.run_until_complete(made.pool.close())
    made.loop.close()


@profile(60)
@given(people=_people, days=st.integers(1, 12), valued=st.booleans())
def test_sql_and_the_pure_function_agree(
    bench: Bench, people: list[list[tuple[timedelta, Any, str]]], days: int, valued: bool
) -> None:
    settings = RfmSettings(
        event="Bought", value="total" if valued else None, window=timedelta(days=days)
    )
    purchases = {
        f"c{number}": [
            Purchase(START - age, worth(value)) for age, value, event in events if event == "Bought"
        ]
        for number, events in enumerate(people)
    }
    expected = scores(purchases, START, settings.window, valued=valued)
    found = bench.loop.run_until_complete(bench.scored(people, settings))
    assert found == {name: score.bands for name, score in expected.items()}
