"""Every SDK of docs/sdks, unmodified, against a real Dangol on a real database.

Each is used as its page says; meets a log that is away for a while; and a restart in the middle.
Every event arrives, and is in its customer's history exactly once. In CI all must run; elsewhere an
SDK whose runtime is missing is skipped with the reason.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path

import pytest

from tests.patience import SOON, stretched
from tests.processes import WRITE_KEY
from tests.sdks.house import House, open_house
from tests.sdks.running import RUNTIMES, SDKS, VARIANTS, Program, Sdk

pytestmark = pytest.mark.slow

COUNT = 20


@pytest.fixture(scope="module")
async def house(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with open_house(postgres, tmp_path_factory.mktemp("sdks")) as house:
        yield house


def each(sdks: Iterable[Sdk]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("sdk", sdks, ids=lambda sdk: sdk.name)


@pytest.fixture(autouse=True)
def _runtime(request: pytest.FixtureRequest) -> None:
    params = request.node.callspec.params
    for sdk in params.get("together", [params.get("sdk")]):
        if sdk.missing:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{sdk.name}: {sdk.missing}")


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Callable[[list[str]], Awaitable[Program]]]:
    started: list[Program] = []

    async def start(command: list[str]) -> Program:
        program = Program(command, tmp_path / f"{len(started)}.log")
        started.append(program)
        await program.start()
        return program

    yield start
    for program in started:
        await program.end()


Start = Callable[[list[str]], Awaitable[Program]]


async def until(program: Program, true: Callable[[], Awaitable[object]]) -> None:
    """Await a condition while the program is at work or over; its words if it never comes true."""
    try:
        async with asyncio.timeout(SOON):
            while not await true():
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"in vain; the program said: {program.said}")


@each([sdk for sdk in SDKS if sdk.page])
async def test_the_program_of_its_page_works(
    house: House, sdk: Sdk, start: Start, tmp_path: Path
) -> None:
    user = f"page-{sdk.name}"
    place = {"host": house.dangol.url, "key": WRITE_KEY, "user": user}
    program = await start(sdk.program(tmp_path, **place))

    async def arrived() -> bool:
        return bool(await house.pool.fetch(
            "SELECT FROM history WHERE customer = $1 AND name = 'Product Added'", user
        ))  # fmt: skip

    await until(program, arrived)
    assert await program.leave() == 0, program.said
    rows = await house.pool.fetch(
        "SELECT kind, event FROM history WHERE customer = $1 AND kind = 'track'", user
    )
    (event,) = (row["event"] for row in rows)
    properties = event["properties"]
    assert (properties["sku"], properties["price"]) == ("A-1", 12000)
    traits = await house.pool.fetchval("SELECT traits FROM customers WHERE id = $1", user)
    assert traits["email"] == "u1@shop.example"


@each(SDKS + VARIANTS)
async def test_each_kind_of_call_is_understood(house: House, sdk: Sdk, start: Start) -> None:
    user = f"kinds-{sdk.name}"
    batches = await house.batches()
    program = await start(
        sdk.drive(host=house.dangol.url, key=WRITE_KEY, user=user, count=1, kinds=True)
    )

    async def said() -> bool:
        return {event.kind for event in await house.events(user)} == sdk.kinds

    await until(program, said)
    assert await program.leave() == 0, program.said
    if sdk in VARIANTS and sdk.runtime == "browser":
        assert await house.batches() > batches
    events = {event.kind: event for event in await house.events(user)}
    assert {event.user_id for event in events.values()} == {user}
    assert events["identify"].traits["plan"] == "pro"
    page = events["page"]
    assert page.properties["path"] == "/"
    if "posthog" not in sdk.name:  # whose pages have no names
        assert page.name == "Home"
    if page.properties.get("category"):
        assert page.properties["category"] == "Docs"
    if screen := events.get("screen"):
        assert screen.name == "Start"
    if group := events.get("group"):
        assert (group.group_id, group.traits) == ("g1", {"size": 3})
    if alias := events.get("alias"):
        assert alias.previous_id == f"old-{user}"


@each(SDKS)
async def test_while_the_log_is_away_every_event_waits_and_arrives_once(
    house: House, sdk: Sdk, start: Start
) -> None:
    user = f"away-{sdk.name}"
    before = await house.troubles()
    async with house.away():
        program = await start(command(sdk, house, user, pause=5))

        async def in_trouble() -> bool:
            return await house.troubles() > before

        await until(program, in_trouble)
        assert await house.sent(user) == []
    await all_arrive_once(house, program, user)


_RUNTIMES = {runtime: [sdk for sdk in SDKS if sdk.runtime == runtime] for runtime in RUNTIMES}


@pytest.mark.parametrize("together", _RUNTIMES.values(), ids=_RUNTIMES)
async def test_over_a_restart_every_event_arrives_once(
    house: House, together: list[Sdk], start: Start
) -> None:
    """Those of one runtime at once, as a restart meets whoever is sending."""
    pause = round(stretched(300))  # so that all have begun before any of them has ended
    programs = {
        f"restart-{sdk.name}": await start(command(sdk, house, f"restart-{sdk.name}", pause=pause))
        for sdk in together
    }
    for user, program in programs.items():
        await until(program, partial(house.sent, user))
    for user in programs:
        assert len(await house.sent(user)) < COUNT, user
    assert await house.dangol.stop() == 0
    await house.dangol.start()
    for user, program in programs.items():
        await all_arrive_once(house, program, user)


def command(sdk: Sdk, house: House, user: str, *, pause: int) -> list[str]:
    return sdk.drive(host=house.dangol.url, key=WRITE_KEY, user=user, count=COUNT, pause=pause)


async def all_arrive_once(house: House, program: Program, user: str) -> None:
    async def there() -> bool:
        return set(await house.sent(user)) == set(range(COUNT))

    await until(program, there)
    assert await program.leave() == 0, program.said
    assert await house.sent(user) == list(range(COUNT))
