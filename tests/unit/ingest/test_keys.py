from services.ingest.keys import StaticKeys
from shared.keys import Source


async def test_static_keys_know_their_own_only() -> None:
    keys = StaticKeys(["a", "b"], name="shop")
    assert await keys.source_of("a") == Source("shop", "write")
    assert await keys.source_of("c") is None
