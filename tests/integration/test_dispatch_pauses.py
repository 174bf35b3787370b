"""What a dispatcher finds broken is said to `dangol doctor`, and no longer once it works."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from services.cli.checkup import check_database
from services.cli.findings import Finding
from services.dispatch.channels.port import Outcome, Result
from tests.integration.dispatching import House, until


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House.open(dsn) as house:
        yield house


async def findings(house: House) -> list[Finding]:
    found = [finding async for finding in check_database(house.dsn, {})]
    return [f for f in found if f.check == "channel email" and "paused" in f.message]


async def test_doctor_tells_what_running_dispatchers_find_broken(house: House) -> None:
    await house.message()
    house.provider.otherwise = Result(Outcome.BROKEN_CONNECTION, detail="535 who are you?")
    assert await findings(house) == []
    async with house.dispatching(lease=1.0):
        await until(lambda: _told(house, True))
        (found,) = await findings(house)
        assert found.verdict == "fail"
        assert "since 2026-04-06 12:00:00 UTC" in found.message
        assert "535 who are you?" in found.message
        house.provider.otherwise = Outcome.ACCEPTED
        house.move(timedelta(seconds=2))
        await house.decided()
        await until(lambda: _told(house, False))


async def test_what_a_dispatcher_that_is_gone_has_said_is_not_believed(house: House) -> None:
    await house.message()
    house.provider.otherwise = Outcome.BROKEN_CONNECTION
    async with house.dispatching(lease=1.0):
        await until(lambda: _told(house, True))
    await until(lambda: _told(house, False))


async def _told(house: House, wanted: bool) -> bool:
    return bool(await findings(house)) is wanted
