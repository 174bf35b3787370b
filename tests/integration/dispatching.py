"""What the dispatch tests share: a house with a workspace, customers and messages, a clock that is
moved by hand, and a provider that does as it is told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec

from services.dispatch.channels.port import Adapter, Outcome, Outgoing, Result, Setup
from services.dispatch.database import open_dispatch_pool
from services.dispatch.worker import WAKEUPS, Dispatcher
from shared import message
from shared.clock import Clock
from shared.db.connect import Pool
from shared.db.wakeups import Wakeups
from shared.event import Event, decode
from shared.message import MessageContext
from shared.workspace_store import pack_files
from tests.conftest import PARTITIONS
from tests.patience import SOON, stretched

NOON = datetime(2026, 4, 6, 12, tzinfo=UTC)

TEMPLATES = {
    "templates/hello/email.liquid": b'---\nsubject: "Hi {{ profile.name }}"\n---\n<p>Hi</p>',
    "templates/hello/sms.liquid": b"Hi {{ profile.name }}",
    "templates/hello/push.liquid": b"Hi",
}
CHANNELS = {
    "email": {"adapter": "fake", "from": "Shop <hello@shop.example>"},
    "sms": {"adapter": "fake"},
    "push": {"adapter": "fake"},
}


class HandClock(Clock):
    """It stands still until it is moved."""

    def __init__(self, at: datetime = NOON) -> None:
        super().__init__()
        object.__setattr__(self, "at_", at)

    def now(self) -> datetime:
        at: datetime = self.__dict__["at_"]
        return at

    def move(self, by: timedelta) -> None:
        object.__setattr__(self, "at_", self.now() + by)

    def move_to(self, at: datetime) -> None:
        object.__setattr__(self, "at_", at)


Answer = Result | Outcome | Callable[[Outgoing], Awaitable[Result]]


@dataclass
class Provider:
    """An adapter for every channel; what it is told to answer, message by message, in turn."""

    name: str = "fake"
    deduplicates: bool = False
    sent: list[Outgoing] = field(default_factory=list)
    """Every call, in order."""
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    """Message id → its answers; the default is `accepted`."""
    otherwise: Answer = Outcome.ACCEPTED
    closed: int = 0

    def create(self, _setup: Setup) -> Adapter:
        return self

    async def send(self, message: Outgoing) -> Result:
        self.sent.append(message)
        waiting = self.answers.get(message.message_id)
        answer = waiting.pop(0) if waiting else self.otherwise
        if isinstance(answer, Outcome):
            return Result(answer)
        return answer if isinstance(answer, Result) else await answer(message)

    async def close(self) -> None:
        self.closed += 1

    @property
    def ids(self) -> list[str]:
        return [outgoing.message_id for outgoing in self.sent]


@dataclass
class House:
    pool: Pool
    dsn: str
    clock: HandClock = field(default_factory=HandClock)
    provider: Provider = field(default_factory=Provider)
    wakeups: Wakeups = field(init=False)
    revision: int = 0

    def __post_init__(self) -> None:
        self.wakeups = Wakeups(self.dsn, WAKEUPS)

    @classmethod
    @asynccontextmanager
    async def open(cls, dsn: str) -> AsyncIterator["House"]:
        """With a workspace and one customer, on a pool as the dispatcher has it."""
        pool = await open_dispatch_pool(dsn, size=10)
        house = cls(pool, dsn)
        await house.publish()
        await house.customer()
        try:
            yield house
        finally:
            await pool.close()

    async def publish(
        self,
        *,
        policies: Mapping[str, Any] | None = None,
        channels: Mapping[str, Any] | None = None,
        templates: Mapping[str, bytes] | None = None,
        **settings: Any,
    ) -> None:
        self.revision += 1
        await self.pool.execute(
            "INSERT INTO workspaces VALUES ($1, $2, $3, $4, '{}', $5, 'kim')",
            self.revision,
            f"hash {self.revision}",
            pack_files(TEMPLATES | dict(templates or {})),
            {
                "policies": {"consent": "assumed", **(policies or {})},
                "channels": CHANNELS | dict(channels or {}),
                **settings,
            },
            self.clock.now() + timedelta(microseconds=self.revision),
        )

    async def customer(
        self,
        name: str = "ann",
        *,
        traits: Mapping[str, Any] | None = None,
        consents: Mapping[str, bool] | None = None,
        partition: int = 0,
    ) -> None:
        known = {"email": f"{name}@shop.example", "phone": "+821012345678", "name": name}
        await self.pool.execute(
            "INSERT INTO customers VALUES ($1, $2, $3, '') ON CONFLICT (partition, id)"
            " DO UPDATE SET traits = excluded.traits",
            partition,
            name,
            known if traits is None else dict(traits),
        )
        for channel, granted in (consents or {}).items():
            await self.pool.execute(
                "INSERT INTO consents VALUES ($1, $2, $3, $4, $5)",
                *(partition, name, channel, granted, self.clock.now()),
            )

    async def message(
        self,
        name: str = "m1",
        *,
        customer: str = "ann",
        channels: tuple[str, ...] = ("email",),
        at: datetime | None = None,
        context: MessageContext | bytes | None = None,
        **fields: Any,
    ) -> None:
        at = at or self.clock.now()
        if not isinstance(context, bytes):
            context = message.pack(context or MessageContext())
        row = {
            "partition": 0,
            "id": name,
            "customer": customer,
            "run_id": f"run of {name}",
            "journey": "welcome",
            "version": 1,
            "step": "hi",
            "category": "marketing",
            "priority": 50,
            "channels": list(channels),
            "template": "hello",
            "context": context,
            "created_at": at,
            "decidable_at": at,
            "not_before": at,
            "status": "queued",
            **fields,
        }
        marks = ", ".join(f"${n}" for n in range(1, len(row) + 1))
        await self.pool.execute(
            f"INSERT INTO messages ({', '.join(row)}) VALUES ({marks})", *row.values()
        )

    def dispatcher(self, **fields: Any) -> Dispatcher:
        """A lease is that of a machine at rest."""
        if "lease" in fields:
            fields["lease"] = stretched(fields["lease"])
        return Dispatcher(
            self.pool,
            self.clock,
            self.wakeups,
            **{
                "partitions": PARTITIONS,
                "environment": {},
                "concurrency": 8,
                "create": self.provider.create,
                **fields,
            },
        )

    @asynccontextmanager
    async def dispatching(self, *dispatchers: Dispatcher, **fields: Any) -> AsyncIterator[None]:
        """Dispatchers run, and are stopped as a person would stop them."""
        stopping = asyncio.Event()
        running = [
            asyncio.create_task(dispatcher.run(stopping))
            for dispatcher in dispatchers or (self.dispatcher(**fields),)
        ]
        try:
            yield
        finally:
            stopping.set()
            await asyncio.gather(*running)

    def ring(self) -> None:
        self.wakeups.ring(message.CHANNEL)

    def move(self, by: timedelta) -> None:
        self.clock.move(by)
        self.ring()

    def move_to(self, at: datetime) -> None:
        self.clock.move_to(at)
        self.ring()

    async def row(self, name: str = "m1") -> asyncpg.Record:
        row = await self.pool.fetchrow("SELECT * FROM messages WHERE id = $1", name)
        assert row is not None
        return row

    async def decision(self, name: str = "m1") -> tuple[str | None, str | None, str | None]:
        row = await self.row(name)
        return row["decision"], row["reason"], row["channel"]

    async def decided(self, *names: str) -> list[tuple[str | None, str | None, str | None]]:
        """Wait until all of these messages are decided."""
        wanted = names or ("m1",)

        async def all_decided() -> bool:
            count = await self.pool.fetchval(
                "SELECT count(*) FROM messages WHERE id = ANY ($1) AND status = 'decided'", wanted
            )
            return bool(count == len(wanted))

        await until(all_decided)
        return [await self.decision(name) for name in wanted]

    async def held(self, name: str = "m1") -> asyncpg.Record:
        """Wait until the message is queued for later."""

        async def waits() -> bool:
            row = await self.row(name)
            return bool(row["status"] == "queued" and row["not_before"] > self.clock.now())

        await until(waits)
        return await self.row(name)

    async def somebody_waits(self) -> bool:
        """A session waits for another's lock."""
        return bool(
            await self.pool.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                " AND datname = current_database()"
            )
        )

    async def attempts(self, name: str = "m1") -> list[asyncpg.Record]:
        return await self.pool.fetch(
            "SELECT * FROM attempts WHERE message_id = $1 ORDER BY number", name
        )

    async def events(self) -> list[Event]:
        rows = await self.pool.fetch("SELECT payload FROM log_outbox ORDER BY id")
        return [decode(row["payload"], self.clock.now()) for row in rows]

    async def places(self) -> list[tuple[str, datetime, str]]:
        rows = await self.pool.fetch("SELECT * FROM cap_places ORDER BY message_id")
        return [(row["message_id"], row["taken_at"], row["channel"]) for row in rows]


def passed_over(row: asyncpg.Record) -> list[tuple[str, str]]:
    return [(passed["channel"], passed["reason"]) for passed in row["passed_over"]]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(SOON):
        while not await condition():
            await asyncio.sleep(0.01)


def shown(detail: str) -> Any:
    return msgspec.json.decode(detail)
