"""One message, one mail: real dispatchers that are killed, frozen and set against each other, and a
real mail server that takes a mail and dies, goes away, and knows nobody.

The server is in the test's own process, so that it can be told when to answer.
"""

import asyncio
import logging
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from services.dispatch import pauses
from shared import message
from shared.event import decode
from tests.integration.dispatching import NOON, House, until
from tests.integration.test_dispatch_smtp import HANG, Postbox
from tests.patience import SOON, stretched
from tests.processes import Service, free_port

LEASE = 2.0
CONCURRENCY = 4
SMTP_CHANNEL = {"adapter": "smtp", "from": "Shop <hello@shop.example>"}


@pytest.fixture(autouse=True)
def _quiet_server() -> None:
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House.open(dsn) as house:
        await house.publish(channels={"email": SMTP_CHANNEL})
        yield house


class Dispatchers:
    """Processes of `dangol dispatch`; what is left of them at the end is killed."""

    def __init__(self, dsn: str, folder: Path) -> None:
        self._dsn, self._folder = dsn, folder
        self.started: list[Service] = []

    async def start(self, url: str, *, lease: float = LEASE) -> Service:
        environment = {
            "DANGOL_DATABASE_URL": self._dsn,
            "DANGOL_SMTP_URL": url,
            "DANGOL_LEASE": str(stretched(lease)),
            "DANGOL_CONCURRENCY": str(CONCURRENCY),
        }
        log = self._folder / f"dispatch-{len(self.started)}.log"
        service = Service("dispatch", environment, log)
        self.started.append(service)
        await service.start()
        await service.ready()
        return service


@pytest.fixture
async def dispatchers(dsn: str, tmp_path: Path) -> AsyncIterator[Dispatchers]:
    dispatchers = Dispatchers(dsn, tmp_path)
    yield dispatchers
    await asyncio.gather(*(service.end(kill=True) for service in dispatchers.started))


async def mail_for(house: House, *people: str) -> None:
    for person in people:
        await house.customer(person)
        await house.message(f"to {person}", customer=person)
    await house.pool.execute("SELECT pg_notify($1, '')", message.CHANNEL)


def everybody(count: int) -> list[str]:
    return [f"c{number:02}" for number in range(count)]


def taken(postbox: Postbox) -> Counter[str]:
    """Person → how many mails for her the server has taken."""
    return Counter(mail.rcpt_tos[0].partition("@")[0] for mail in postbox.mails)


async def decisions(house: House) -> dict[str, str | None]:
    rows = await house.pool.fetch("SELECT customer, decision FROM messages")
    return {row["customer"]: row["decision"] for row in rows}


async def all_decided(house: House) -> bool:
    return None not in (await decisions(house)).values()


async def metrics_of(service: Service) -> dict[str, float]:
    async with httpx.AsyncClient(timeout=SOON) as client:
        text = (await client.get(f"{service.url}/metrics")).text
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def shown(
    service: Service, name: str, wanted: Callable[[float], bool]
) -> Callable[[], Awaitable[bool]]:
    async def it_is() -> bool:
        return wanted((await metrics_of(service)).get(name, -1.0))

    return it_is


async def doctor(dsn: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "dangol"), "doctor",
        env={"PATH": "/usr/bin:/bin", "DANGOL_DATABASE_URL": dsn, "PYTHONPATH": ":".join(sys.path)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(SOON):
        said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def test_a_kill_between_call_and_outcome_makes_no_second_mail(
    house: House, dispatchers: Dispatchers
) -> None:
    people = everybody(12)
    await mail_for(house, *people)
    async with Postbox(at_dot={f"{p}@shop.example": [HANG] for p in people}).open() as postbox:
        first = await dispatchers.start(postbox.url)

        async def all_hands_full() -> bool:
            return len(postbox.mails) == CONCURRENCY

        await until(all_hands_full)
        await first.end(kill=True)
        in_hands = set(taken(postbox))
        for answers in postbox.at_dot.values():
            answers.clear()
        await dispatchers.start(postbox.url)
        await until(lambda: all_decided(house))
        assert taken(postbox) == Counter(people), "each person has one mail"
    found = await decisions(house)
    assert {person for person in people if found[person] == "unknown"} == in_hands
    assert {found[person] for person in people if person not in in_hands} == {"sent"}


async def test_a_server_that_takes_a_mail_and_dies_gets_it_once(
    house: House, dispatchers: Dispatchers
) -> None:
    people = everybody(12)
    await mail_for(house, *people)
    # Whoever comes first: it takes the mail, says nothing, and is gone with all its connections.
    dying = {f"{person}@shop.example": [HANG] for person in people}
    postbox = Postbox(at_dot=dying)
    async with postbox.open():
        dispatcher = await dispatchers.start(postbox.url)

        async def all_hands_full() -> bool:
            return len(postbox.mails) == CONCURRENCY

        await until(all_hands_full)
        in_hands = set(taken(postbox))
    paused = 'dangol_dispatch_channel_paused{channel="email"}'
    await until(shown(dispatcher, paused, lambda value: value == 1))
    for answers in postbox.at_dot.values():
        answers.clear()
    async with postbox.open():
        await until(lambda: all_decided(house))
        await until(shown(dispatcher, paused, lambda value: value == 0))
        unknown = (await metrics_of(dispatcher))['dangol_dispatch_unknown_total{adapter="smtp"}']
    assert taken(postbox) == Counter(people)
    found = await decisions(house)
    assert {person for person in people if found[person] == "unknown"} == in_hands
    assert unknown == len(in_hands) == CONCURRENCY


async def test_a_dispatcher_that_slept_past_its_lease_finds_its_message_settled(
    house: House, dispatchers: Dispatchers
) -> None:
    await mail_for(house, "ann")
    postbox = Postbox(at_dot={"ann@shop.example": [HANG]})
    async with postbox.open():
        sleeper = await dispatchers.start(postbox.url)

        async def called() -> bool:
            return len(postbox.mails) == 1

        await until(called)
        assert sleeper.process is not None
        sleeper.process.send_signal(signal.SIGSTOP)
        await dispatchers.start(postbox.url)
        await until(lambda: all_decided(house))
        assert await decisions(house) == {"ann": "unknown"}
        postbox.release.set()  # the provider answers at last: it has taken the mail
        sleeper.process.send_signal(signal.SIGCONT)
        # The sleeper's word comes too late, and it goes on: alone, it sends what comes next.
        await dispatchers.started[1].end()
        await mail_for(house, "bob")
        await until(lambda: all_decided(house))
    assert await decisions(house) == {"ann": "unknown", "bob": "sent"}
    assert taken(postbox) == Counter(["ann", "bob"])
    attempts = await house.pool.fetch("SELECT outcome FROM attempts ORDER BY message_id")
    assert [attempt["outcome"] for attempt in attempts] == ["unknown", "accepted"]
    await until(lambda: told(house, ["sent", "unknown"]))


async def test_with_on_unknown_retry_a_sleeper_makes_one_more_mail_and_no_third(
    house: House, dispatchers: Dispatchers
) -> None:
    """What its operator chose: a mail of which nobody knows is sent again, once for each time. The
    sleeper wakes in the middle of that, and its late word is nobody's: neither the message's nor
    the counter's."""
    await house.publish(channels={"email": {**SMTP_CHANNEL, "on_unknown": "retry"}})
    await mail_for(house, "ann")
    postbox = Postbox(at_dot={"ann@shop.example": [HANG, HANG]})
    async with postbox.open():
        sleeper = await dispatchers.start(postbox.url)

        async def called(times: int) -> bool:
            return len(postbox.mails) == times

        await until(lambda: called(1))
        assert sleeper.process is not None
        sleeper.process.send_signal(signal.SIGSTOP)

        async def lease_is_over() -> bool:
            over = "SELECT count(*) FROM messages WHERE claim_until < clock_timestamp()"
            return bool(await house.pool.fetchval(over) == 1)

        await until(lease_is_over)
        other = await dispatchers.start(postbox.url, lease=30)

        async def waits_for_its_turn() -> bool:
            row = await house.row("to ann")
            return bool(row["status"] == "queued" and row["not_before"] > row["created_at"])

        await until(waits_for_its_turn)
        assert [a["outcome"] for a in await house.attempts("to ann")] == ["unknown"]
        await house.pool.execute("UPDATE messages SET not_before = now()")  # not after five seconds
        await house.pool.execute("SELECT pg_notify($1, '')", message.CHANNEL)
        await until(lambda: called(2))
        # Its own call has been away for longer than it may take: it ends as unknown, and in vain.
        sleeper.process.send_signal(signal.SIGCONT)
        under_way = "dangol_dispatch_calls_under_way"
        await until(shown(sleeper, under_way, lambda value: value == 0))
        row = await house.row("to ann")
        assert (row["status"], row["attempts"]) == ("attempting", 2)
        postbox.release.set()
        await until(lambda: all_decided(house))
        found = 'dangol_dispatch_unknown_total{adapter="smtp"}'
        counted = [(await metrics_of(service))[found] for service in (sleeper, other)]
        assert counted == [0, 1]
        await mail_for(house, "bob")
        await until(lambda: all_decided(house))
    assert await decisions(house) == {"ann": "sent", "bob": "sent"}
    assert taken(postbox) == Counter({"ann": 2, "bob": 1})
    attempts = await house.attempts("to ann")
    assert [attempt["outcome"] for attempt in attempts] == ["unknown", "accepted"]
    assert len({attempt["dispatcher"] for attempt in attempts}) == 2
    await until(lambda: told(house, ["sent", "sent"]))


async def told(house: House, wanted: list[str]) -> bool:
    """Whether the log says just this of all messages: their runs hear of each once."""
    rows = await house.pool.fetch("SELECT payload FROM log")
    events = [decode(row["payload"], NOON) for row in rows]
    return sorted(str(event.properties["decision"]) for event in events) == wanted


async def test_two_dispatchers_and_one_place_under_a_cap_make_one_mail(
    house: House, dispatchers: Dispatchers
) -> None:
    caps = [{"category": "marketing", "limit": 1, "per": "24h"}]
    await house.publish(channels={"email": SMTP_CHANNEL}, policies={"frequency_caps": caps})
    people = everybody(30)
    for person in people:
        await house.customer(person)
    # Nothing is answered before both have their hands full, so that neither does it all alone.
    async with Postbox(at_dot={f"{p}@shop.example": [HANG] for p in people}).open() as postbox:
        await asyncio.gather(*(dispatchers.start(postbox.url, lease=20) for _ in range(2)))
        async with house.pool.acquire() as connection, connection.transaction():
            for person in people:
                for number in range(3):
                    await _message(house, connection, f"{person} {number}", person)
            await connection.execute("SELECT pg_notify($1, '')", message.CHANNEL)

        async def both_are_at_it() -> bool:
            found = await house.pool.fetchval("SELECT count(DISTINCT dispatcher) FROM attempts")
            return bool(found == 2)

        await until(both_are_at_it)
        postbox.release.set()
        await until(lambda: all_capped(house))
    assert taken(postbox) == Counter(people)


async def _message(house: House, connection: Any, name: str, person: str) -> None:
    """One after the other for each person, and nothing to be seen before all are there."""
    number = int(name.rpartition(" ")[2])
    at = NOON + timedelta(seconds=number)
    await connection.execute(
        "INSERT INTO messages (partition, id, customer, run_id, journey, version, step, category,"
        " priority, channels, template, context, created_at, decidable_at, not_before, status)"
        " VALUES (0, $1, $2, $1, 'welcome', 1, 'hi', 'marketing', 50, '{email}', 'hello', '\\x80',"
        " $3, $3, $3, 'queued')",
        name,
        person,
        at,
    )


async def all_capped(house: House) -> bool:
    rows = await house.pool.fetch(
        "SELECT decision, reason, count(*) AS n FROM messages GROUP BY 1, 2 ORDER BY 1, 2"
    )
    return [tuple(row) for row in rows] == [("dropped", "frequency_cap", 60), ("sent", None, 30)]


class Doorkeeper:
    """An authenticator whose password may be changed."""

    def __init__(self, password: bytes) -> None:
        self.password = password

    def __call__(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        known = isinstance(data, LoginPassword) and data.password == self.password
        return AuthResult(success=known, handled=False)


@asynccontextmanager
async def asking_for_a_password(doorkeeper: Doorkeeper, port: int) -> AsyncIterator[Postbox]:
    settings = {
        "authenticator": doorkeeper, "auth_required": True, "auth_require_tls": False,
    }  # fmt: skip
    async with Postbox(port=port, settings=settings).open() as postbox:
        yield postbox


async def told_of(house: House, word: str) -> bool:
    return word in {found.why[:3] for found in await pauses.hear(house.pool)}


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
async def test_a_broken_connection_pauses_says_so_and_loses_nothing(
    house: House, dispatchers: Dispatchers
) -> None:
    people = everybody(20)
    await mail_for(house, *people)
    port, doorkeeper = free_port(), Doorkeeper(b"another")
    service = await dispatchers.start(f"smtp://shop:secret-word@127.0.0.1:{port}")
    paused = 'dangol_dispatch_channel_paused{channel="email"}'

    await until(shown(service, paused, lambda value: value == 1))  # nobody is there
    async with asking_for_a_password(doorkeeper, port) as postbox:
        await until(lambda: told_of(house, "535"))  # nobody knows us
        status, said = await doctor(house.dsn)
        assert status == 1
        assert "channel email" in said
        assert "535" in said
        assert "secret-word" not in said
        assert (await metrics_of(service))[paused] == 1
        assert (await decisions(house)).keys() == set(people)
        assert set((await decisions(house)).values()) == {None}
        assert postbox.mails == []
        doorkeeper.password = b"secret-word"
        await until(lambda: all_decided(house))
        await until(shown(service, paused, lambda value: value == 0))
        assert taken(postbox) == Counter(people)
    assert set((await decisions(house)).values()) == {"sent"}
    assert await house.pool.fetchval("SELECT max(number) FROM attempts") <= 12
    assert "secret-word" not in service.log.read_text()
