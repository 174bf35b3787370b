import asyncio

from services.dispatch.slots import Slots


async def test_places_are_handed_out_several_at_once_and_never_too_many() -> None:
    slots = Slots(5)
    assert await slots.take(3) == 3
    assert await slots.take(3) == 2, "after a moment of waiting for more"
    waiting = asyncio.create_task(slots.take(3))
    await asyncio.sleep(0)
    assert not waiting.done()
    slots.give(1)
    assert await waiting == 1
    assert slots.free == 0


async def test_whoever_waits_gets_more_where_more_become_free_together() -> None:
    slots = Slots(4)
    assert await slots.take(4) == 4
    waiting = asyncio.create_task(slots.take(3))
    await asyncio.sleep(0)
    slots.give(1)
    slots.give(3)
    assert await waiting == 3
    assert slots.free == 1


async def test_closing_sends_everybody_home() -> None:
    slots = Slots(1)
    await slots.take(1)
    waiting = asyncio.create_task(slots.take(1))
    await asyncio.sleep(0)
    slots.close()
    assert await waiting == 0
    assert await slots.take(1) == 0
