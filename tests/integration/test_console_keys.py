"""Whose key it is, asked of a real database."""

import asyncio
from datetime import UTC, datetime

import pytest

from services.console.keys import create_key, list_keys, revoke_key
from shared.db.connect import Pool, open_pool
from shared.db.wakeups import Wakeups
from shared.errors import NotFound, Unavailable
from shared.keys import CHANNEL, KeyRing, Source
from tests.patience import SOON

NOW = datetime(2026, 3, 2, tzinfo=UTC)


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def made(pool: Pool, role: str = "write") -> tuple[str, str]:
    async with pool.acquire() as connection:
        key, secret = await create_key(connection, "web", role, NOW)
    return key.id, secret


async def revoke(pool: Pool, key_id: str) -> None:
    async with pool.acquire() as connection:
        await revoke_key(connection, key_id, NOW)


async def test_a_key_is_known_by_its_name_and_role(pool: Pool) -> None:
    key_id, secret = await made(pool, "marketer")
    assert await KeyRing(pool).source_of(secret) == Source("web", "marketer", key_id)
    for other in ("", "nonsense", secret + "x", "x" * 10_000, "\udc80", "a\x00b"):
        assert await KeyRing(pool).source_of(other) is None


async def test_keys_of_the_environment_are_known_without_the_database(pool: Pool) -> None:
    ring = KeyRing(pool, write_keys=["w1", "w2", ""], admin_token="t")
    await pool.execute("DROP TABLE keys")
    assert await ring.source_of("w1") == Source("environment", "write")
    assert await ring.source_of("w2") == Source("environment", "write")
    assert await ring.source_of("t") == Source("environment", "admin")
    assert await ring.source_of("") is None


async def test_a_revocation_is_seen_within_a_second_even_without_news_of_it(pool: Pool) -> None:
    time = Time()
    ring = KeyRing(pool, monotonic=time)
    key_id, secret = await made(pool)
    assert await ring.source_of(secret) is not None
    await revoke(pool, key_id)
    time.now += 0.9
    assert ring.known(secret) is not None
    time.now += 0.2
    assert ring.known(secret) is None
    assert await ring.source_of(secret) is None


async def test_every_process_hears_of_a_revocation_at_once(pool: Pool, dsn: str) -> None:
    wakeups, stopping = Wakeups(dsn, [CHANNEL]), asyncio.Event()
    rings = [KeyRing(pool, monotonic=Time()) for _ in range(2)]  # their time stands still
    tasks = [asyncio.create_task(wakeups.run(stopping))]
    tasks += [asyncio.create_task(r.watch(wakeups.listen(CHANNEL), stopping)) for r in rings]
    key_id, secret = await made(pool)
    async with asyncio.timeout(SOON):
        while not all([await ring.source_of(secret) for ring in rings]):
            await asyncio.sleep(0.01)
        await revoke(pool, key_id)
        while any([await ring.source_of(secret) for ring in rings]):
            await asyncio.sleep(0.01)
    stopping.set()
    await asyncio.gather(*tasks)


async def test_an_answer_from_before_a_change_is_not_remembered(pool: Pool) -> None:
    ring = KeyRing(pool)
    key_id, secret = await made(pool)
    asking = asyncio.create_task(ring.source_of(secret))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await revoke(pool, key_id)
    ring.forget()
    await asking
    assert ring.known(secret) is None
    assert await ring.source_of(secret) is None


async def test_the_table_is_asked_once_however_many_requests_wait(pool: Pool) -> None:
    _, secret = await made(pool)
    ring = KeyRing(pool)
    asked = 0
    find = ring._find

    async def counted(digest: str) -> Source | None:
        nonlocal asked
        asked += 1
        return await find(digest)

    ring._find = counted  # type: ignore[method-assign]
    found = await asyncio.gather(*(ring.source_of(secret) for _ in range(50)))
    assert asked == 1
    assert {source is not None for source in found} == {True}


async def test_a_new_key_is_seen_within_a_second(pool: Pool) -> None:
    time = Time()
    ring = KeyRing(pool, monotonic=time)
    key_id, secret = await made(pool)
    await pool.execute("UPDATE keys SET revoked_at = now()")
    assert await ring.source_of(secret) is None
    await pool.execute("UPDATE keys SET revoked_at = NULL")
    assert await ring.source_of(secret) is None
    time.now += 1.1
    assert await ring.source_of(secret) == Source("web", "write", key_id)


async def test_a_ring_remembers_a_bounded_number_of_answers(pool: Pool) -> None:
    ring = KeyRing(pool)
    for number in range(KeyRing.MOST + 10):
        await ring.source_of(f"nonsense-{number}")
    assert len(ring._answers) == KeyRing.MOST


async def test_while_the_database_is_away_a_key_that_was_good_stays_good_for_a_time(
    pool: Pool, dsn: str
) -> None:
    time = Time()
    own = await open_pool(dsn, size=1, name="test")
    ring = KeyRing(own, monotonic=time)
    _, secret = await made(pool)
    assert await ring.source_of(secret) is not None
    assert await ring.source_of("nonsense") is None
    await own.close()  # what the ring sees is a lost connection
    time.now += 60
    assert await ring.source_of(secret) is not None
    for unknown in ("nonsense", "never asked about"):
        with pytest.raises(Unavailable):
            await ring.source_of(unknown)
    time.now += KeyRing.AWAY_FOR
    with pytest.raises(Unavailable):
        await ring.source_of(secret)


async def test_keys_are_listed_oldest_first_with_their_revocation(pool: Pool) -> None:
    first, _ = await made(pool)
    second, _ = await made(pool, "admin")
    await revoke(pool, second)
    async with pool.acquire() as connection:
        keys = await list_keys(connection)
        assert {key.id: key.revoked_at for key in keys} == {first: None, second: NOW}
        with pytest.raises(NotFound):
            await revoke_key(connection, "key_none", NOW)
