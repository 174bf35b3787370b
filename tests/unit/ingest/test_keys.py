import asyncio

import pytest

from services.ingest.keys import CachedKeys, KeyRings, Source, StaticKeys
from shared.errors import Unavailable
from tests.unit.ingest.doubles import CountingKeys

SHOP = Source("shop", "write")


class Seconds:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def ring() -> CountingKeys:
    return CountingKeys({"wk": SHOP})


@pytest.fixture
def cached(ring: CountingKeys, seconds: Seconds) -> CachedKeys:
    return CachedKeys(ring, seconds)


async def test_static_keys_know_their_own_only() -> None:
    keys = StaticKeys(["a", "b"])
    assert await keys.source_of("a") == Source("environment", "write")
    assert await keys.source_of("c") is None


async def test_of_several_rings_the_first_that_knows_decides() -> None:
    rings = KeyRings(StaticKeys(["a"], name="one"), StaticKeys(["a", "b"], name="two"))
    found = [await rings.source_of(key) for key in ("a", "b", "c")]
    assert [source and source.name for source in found] == ["one", "two", None]


async def test_a_known_key_is_remembered_for_half_a_minute(
    cached: CachedKeys, ring: CountingKeys, seconds: Seconds
) -> None:
    for now in (0.0, 29.9):
        seconds.now = now
        assert await cached.source_of("wk") == SHOP
    assert ring.asked == ["wk"]
    ring.sources.clear()
    seconds.now = 30.1
    assert await cached.source_of("wk") is None


async def test_an_unknown_key_is_remembered_for_a_second(
    cached: CachedKeys, ring: CountingKeys, seconds: Seconds
) -> None:
    for _ in range(3):
        assert await cached.source_of("new") is None
    assert ring.asked == ["new"]
    ring.sources["new"] = SHOP
    seconds.now = 1.1
    assert await cached.source_of("new") == SHOP


async def test_a_burst_asks_once(cached: CachedKeys, ring: CountingKeys) -> None:
    ring.open.clear()
    burst = [asyncio.create_task(cached.source_of("wk")) for _ in range(50)]
    leaver = asyncio.create_task(cached.source_of("wk"))
    await asyncio.sleep(0)
    leaver.cancel()
    ring.open.set()
    assert await asyncio.gather(*burst) == [SHOP] * 50
    assert ring.asked == ["wk"]


async def test_trouble_is_not_remembered(cached: CachedKeys, ring: CountingKeys) -> None:
    ring.failing = True
    with pytest.raises(Unavailable):
        await cached.source_of("wk")
    ring.failing = False
    assert await cached.source_of("wk") == SHOP


async def test_a_ring_that_does_not_answer_is_given_up(
    cached: CachedKeys, ring: CountingKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cached, "WITHIN", 0.01)
    ring.open.clear()
    with pytest.raises(TimeoutError):
        await cached.source_of("wk")


async def test_memory_is_bounded(cached: CachedKeys, ring: CountingKeys) -> None:
    for number in range(CachedKeys.MOST + 10):
        await cached.source_of(f"k{number}")
    assert len(cached._known) == CachedKeys.MOST
    asked = len(ring.asked)
    await cached.source_of(f"k{CachedKeys.MOST + 9}")
    assert len(ring.asked) == asked
    await cached.source_of("k0")
    assert len(ring.asked) == asked + 1
