"""The engine on a real database, with owners that can be started, stopped, killed and fooled."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import msgspec

from services.console.publish import apply
from services.journey.core.decide import next_due
from services.journey.core.state import Customer, unpack
from services.journey.library import Library
from services.journey.partition import Engine, PartitionOwner
from services.journey.store import Store
from shared.clock import Clock
from shared.db.connect import Pool, open_pool
from shared.db.wakeups import Wakeups
from shared.event import answer_event, outcome_event, receipt_event
from shared.log.outbox import Relay
from shared.log.port import Record
from shared.log.postgres import PostgresLog, PostgresLogReader
from shared.message import unpack as unpack_context
from tests.conftest import PARTITIONS

_SETTINGS = """
timezone: Europe/Berlin
policies: {consent: assumed}
channels: {email: {adapter: log}, sms: {adapter: log}, push: {adapter: log}}
"""
_TEMPLATES = {
    "email.liquid": "---\nsubject: Hello\n---\n<p>Hello</p>\n",
    "sms.liquid": "Hello\n",
    "push.liquid": "---\ntitle: Hello\n---\nHello\n",
}
_TRAP = """
CREATE SEQUENCE trap_met;
CREATE TABLE trap_set (at bigint, code text);
CREATE FUNCTION trap() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE met bigint := nextval('trap_met'); found text;
BEGIN
  SELECT code INTO found FROM trap_set WHERE at = met;
  IF found IS NOT NULL THEN RAISE EXCEPTION 'trapped' USING ERRCODE = found; END IF;
  RETURN NULL;
END $$;
"""
TABLES = (
    "partitions",
    "customers",
    "history",
    "timers",
    "messages",
    "calls",
    "counts",
    "log_outbox",
)
CODES = ("P0001", "57P01")
"""A statement that fails for its own reasons, and a server that goes away."""


class Node:
    """One process: its own connections, cache and idea of what it owns."""

    def __init__(self, name: str, pool: Pool, wakeups: Wakeups, clock: Clock, **sizes: int) -> None:
        self.name = name
        self.pool = pool
        reader = PostgresLogReader(pool, wakeups, PARTITIONS, name, clock)
        self._engine = Engine(name, reader, Store(pool), Library(pool), clock, PARTITIONS, **sizes)
        self.owners: dict[int, tuple[asyncio.Task[None], asyncio.Event]] = {}

    def own(self, partition: int) -> None:
        stop = asyncio.Event()
        owner = PartitionOwner(partition, self._engine)
        self.owners[partition] = asyncio.create_task(owner.run(stop)), stop

    async def reap(self) -> None:
        """Forget owners that lost their partition or met the trap; raises what else they met."""
        for partition, (task, _stop) in list(self.owners.items()):
            if task.done():
                await self._over(partition)

    async def stop(self, partition: int) -> None:
        self.owners[partition][1].set()
        await self._over(partition)

    async def kill(self, partition: int) -> None:
        self.owners[partition][0].cancel()
        await self._over(partition)

    async def _over(self, partition: int) -> None:
        task, _stop = self.owners.pop(partition)
        (met,) = await asyncio.gather(task, return_exceptions=True)
        trapped = isinstance(met, asyncpg.RaiseError) and "trapped" in str(met)
        if met is not None and not trapped and not isinstance(met, asyncio.CancelledError):
            raise met


class House:
    def __init__(self, pool: Pool, dsn: str, wakeups: Wakeups, clock: Clock) -> None:
        self.pool = pool
        self.log = PostgresLog(pool, PARTITIONS, clock)
        self.relay = Relay(pool, self.log, asyncio.Event())
        self.clock = clock
        self.nodes: list[Node] = []
        self.told: set[str] = set()
        self._dsn = dsn
        self._wakeups = wakeups

    async def publish(self, sources: dict[str, str], in_flight: str = "pin") -> None:
        files = {
            "dangol.yaml": _SETTINGS,
            **{f"templates/{t}/{name}": body for t in "ab" for name, body in _TEMPLATES.items()},
            **{f"journeys/{name}.yaml": text for name, text in sources.items()},
        }
        encoded = {name: text.encode() for name, text in files.items()}
        await apply(self.pool, encoded, "test", self.clock, in_flight=in_flight)

    async def open(self, sources: dict[str, str]) -> None:
        await self.publish(sources)
        await self.pool.execute(_TRAP)
        for table in TABLES:
            await self.pool.execute(
                f"CREATE TRIGGER trap AFTER INSERT OR UPDATE OR DELETE ON {table}"
                " FOR EACH STATEMENT EXECUTE FUNCTION trap()"
            )

    async def node(self, name: str, **sizes: int) -> Node:
        pool = await open_pool(self._dsn, size=4, name=name)
        self.nodes.append(Node(name, pool, self._wakeups, self.clock, **sizes))
        return self.nodes[-1]

    async def close(self) -> None:
        for node in self.nodes:
            for partition in list(node.owners):
                with contextlib.suppress(Exception):  # the test has failed for it already
                    await node.kill(partition)
            node.pool.terminate()

    async def set_trap(self, statements: int, code: str) -> None:
        """So many statements from now, one fails, and its transaction with it."""
        await self.pool.execute(
            "INSERT INTO trap_set SELECT last_value + $1, $2 FROM trap_met", statements, code
        )

    async def disconnect(self, node: Node) -> None:
        await self.pool.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1",
            f"dangol-{node.name}",
        )

    async def tell(self, chance: random.Random, share: float) -> int:
        """Outcomes of messages that dispatch can see, some of them twice; how many are untold."""
        rows = await self.pool.fetch(
            "SELECT id, customer, step, run_id FROM messages WHERE status <> 'staged' ORDER BY id"
        )
        untold = [row for row in rows if row["id"] not in self.told]
        for row in untold:
            if chance.random() >= share:
                continue
            told = outcome_event(
                message_id=row["id"], customer=row["customer"], at=self.clock.now(),
                step=row["step"], run_id=row["run_id"],
                decision=chance.choice(("sent", "sent", "dropped")), reason=None, channel="push",
            )  # fmt: skip
            receipt = receipt_event(
                receipt_id=f"{row['id']}:opened", customer=row["customer"], at=self.clock.now(),
                outcome=chance.choice(("opened", "clicked", "bounced")), channel="push",
                message={"message_id": row["id"], "run_id": row["run_id"], "step": row["step"]},
            )  # fmt: skip
            news = [told] * chance.choice((1, 1, 2)) + [receipt] * chance.choice((0, 1, 2))
            chance.shuffle(news)
            await self.log.append(news)
            self.told.add(row["id"])
        return len(untold) + await self._answer(chance, share)

    async def _answer(self, chance: random.Random, share: float) -> int:
        """The same for calls."""
        rows = await self.pool.fetch(
            "SELECT id, customer, step, run_id FROM calls WHERE status <> 'staged' ORDER BY id"
        )
        untold = [row for row in rows if row["id"] not in self.told]
        for row in untold:
            if chance.random() >= share:
                continue
            told = answer_event(
                call_id=row["id"], customer=row["customer"], at=self.clock.now(),
                step=row["step"], run_id=row["run_id"],
                outcome=chance.choice(("sent", "sent", "failed")), reason=None,
                response=chance.choice((None, {"total": 2, "list": [1.5, "x"]})),
            )  # fmt: skip
            await self.log.append([told] * chance.choice((1, 1, 2)))
            self.told.add(row["id"])
        return len(untold)

    async def promise(self) -> None:
        """Between any two transactions: what is due has a row in `timers` at or before it.

        What a pause puts off has one that looks again.
        """
        changes = "SELECT journey FROM journey_changes WHERE status = 'paused'"
        pauses = {row["journey"] for row in await self.pool.fetch(changes)}
        rows = await self.pool.fetch(
            "SELECT c.id, c.state, (SELECT min(due_at) FROM timers t"
            " WHERE t.partition = c.partition AND t.customer = c.id) AS first FROM customers c"
        )
        for row in rows:
            state = unpack(row["state"])
            runs = tuple(run for run in state.runs if run.journey not in pauses)
            state = msgspec.structs.replace(state, runs=runs)
            due = next_due(Customer(row["id"], {}, state))
            assert due is None or (row["first"] is not None and row["first"] <= due), dict(row)

    async def is_settled(self) -> bool:
        settled: bool = await self.pool.fetchval(
            "SELECT NOT EXISTS (SELECT FROM timers WHERE due_at < $1)"
            " AND NOT EXISTS (SELECT FROM log_outbox)"
            " AND NOT EXISTS (SELECT FROM messages WHERE status = 'staged')"
            " AND NOT EXISTS (SELECT FROM calls WHERE status = 'staged')"
            " AND (SELECT bool_and(p.log_offset = h.next_offset - 1)"
            "      FROM partitions p JOIN log_heads h ON h.partition = p.id)"
            " AND (SELECT bool_and(settled_revision >= coalesce((SELECT max(revision)"
            "      FROM workspaces WHERE in_flight <> '{}'), 0)) FROM partitions)",
            self.end,
        )
        return settled

    @property
    def end(self) -> datetime:
        """Behind everything but the last timer of those who were erased."""
        return self.clock.now() + timedelta(days=3)

    # What it came to -------------------------------------------------------------------------

    async def records(self) -> list[Record]:
        rows = await self.pool.fetch("SELECT * FROM log ORDER BY partition, log_offset")
        return [
            Record(r["partition"], r["log_offset"], r["received_at"], r["payload"]) for r in rows
        ]

    async def stored(self) -> dict[str, Any]:
        """Every table that decisions are stored in, in a form that a model can be held against."""
        fetch = self.pool.fetch
        customers = await fetch("SELECT id, traits, state FROM customers")
        messages = await fetch(
            "SELECT customer, journey, step, id, run_id, held_out, created_at, context"
            " FROM messages WHERE erased IS NOT TRUE"
        )
        calls = await fetch(
            "SELECT customer, journey, step, id, run_id, created_at, outcome FROM calls"
        )
        withdrawn = await fetch(
            "SELECT id FROM messages WHERE reason = 'run_ended' AND erased IS NOT TRUE"
        )
        erased = await fetch("SELECT id, context, status, reason FROM messages WHERE erased")
        counts = await fetch(
            "SELECT journey, version, step, what, sum(n)::int AS n FROM counts GROUP BY 1, 2, 3, 4"
        )
        consents = await fetch("SELECT customer, channel, granted, stated_at FROM consents")
        conversions = await fetch("SELECT customer, run_id, at, value, variants FROM conversions")
        history = await fetch("SELECT customer, id FROM history")
        return {
            "traits": {row["id"]: in_order(row["traits"]) for row in customers},
            "state": {row["id"]: without_timers(unpack(row["state"])) for row in customers},
            "messages": {(*tuple(row)[:-1], context_in_order(row["context"])) for row in messages},
            "calls": {tuple(row)[:-1] for row in calls},
            "withdrawn calls": {row["id"] for row in calls if row["outcome"] == "dropped"},
            "withdrawn": {row["id"] for row in withdrawn},
            "erased": {tuple(row) for row in erased},
            "counts": {tuple(row)[:4]: row["n"] for row in counts},
            "consents": {tuple(row) for row in consents},
            "conversions": {tuple(row)[:4]: row["variants"] for row in conversions},
            "history": Counter(tuple(row) for row in history),
        }


def in_order(traits: dict[str, Any]) -> bytes:
    """jsonb keeps no order of names."""
    return msgspec.json.encode(traits, order="deterministic")


def without_timers(state: Any) -> bytes:
    """Names within events have no order, since some were read from jsonb; what was seen has one."""
    rest = msgspec.structs.replace(state, armed_at=None, seen={})
    seen = msgspec.msgpack.encode(list(state.seen.items()))
    return msgspec.msgpack.encode(rest, order="deterministic") + seen


def context_in_order(packed: bytes) -> bytes:
    """What a message's template may read, for the same reason."""
    return msgspec.msgpack.encode(unpack_context(packed), order="deterministic")


def differences(model: dict[str, Any], stored: dict[str, Any]) -> Sequence[str]:
    """What is only in one of the two, a line each."""
    lines = []
    for table, expected in model.items():
        found = stored[table]
        if isinstance(expected, dict):
            expected, found = set(map(repr, expected.items())), set(map(repr, found.items()))
        lines += [f"{table}: only in the model: {what}" for what in expected - found]
        lines += [f"{table}: only in the database: {what}" for what in found - expected]
    return lines
