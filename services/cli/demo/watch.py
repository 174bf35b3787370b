"""What became of it, read from the database as it happens: one snapshot after the other.

Everything that the demo tells comes from here or from the inbox; nothing is worked out beforehand.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from services.journey.core.state import AtTime, unpack
from shared.clock import EPOCH
from shared.db.connect import Pool

Row = Mapping[str, Any]
NEVER = datetime.max.replace(tzinfo=UTC)

_MESSAGES = """
SELECT m.id, m.customer, m.run_id, m.journey, m.channels, m.channel, m.decision, m.reason,
  m.created_at, m.decided_at, m.not_before, m.held_reason, m.passed_over,
  (SELECT a.detail FROM attempts a WHERE a.partition = m.partition AND a.message_id = m.id
   ORDER BY a.number DESC LIMIT 1) AS detail
FROM messages m ORDER BY coalesce(m.decided_at, m.decidable_at), m.customer, m.step
"""
_STATES = """
SELECT c.partition, c.id, c.state, h.received_at, h.name FROM customers c LEFT JOIN LATERAL (
  SELECT h.received_at, h.name FROM history h
  WHERE h.partition = c.partition AND h.customer = c.id ORDER BY h.received_at DESC LIMIT 1
) h ON true
"""
_EXITS = """
SELECT partition, journey, sum(n)::int AS n FROM counts WHERE what = 'ended:exit' GROUP BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class Message:
    id: str
    customer: str
    run_id: str
    journey: str
    channel: str
    """Where it ended, or where it is going to be tried first."""
    decision: str | None
    reason: str | None
    created_at: datetime
    decided_at: datetime | None
    not_before: datetime
    held_reason: str | None
    passed_over: Sequence[Mapping[str, str]]
    detail: str | None
    """What the provider said; of the adapter `log`, the rendered message."""

    @property
    def text(self) -> str:
        """The message as the adapter `log` kept it, on one line."""
        kept = msgspec.json.decode(self.detail or "{}")
        pieces = [*kept.get("parts", {}).values(), kept.get("body", "")]
        return " ".join(" ".join(pieces).split())


@dataclass(frozen=True, slots=True)
class Held:
    at: datetime
    message: Message


@dataclass(frozen=True, slots=True)
class Decided:
    at: datetime
    message: Message


@dataclass(frozen=True, slots=True)
class Ended:
    """A journey that an event has ended before it came to say anything more."""

    at: datetime
    customer: str
    journey: str
    event: str


News = Held | Decided | Ended


@dataclass(slots=True)
class Watch:
    pool: Pool
    messages: dict[str, Message] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    """Ids of the messages that have been held, whatever became of them."""
    _runs: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    _next_due: datetime = EPOCH
    """When the next waiting run goes on."""
    _exits: Counter[tuple[int, str]] = field(default_factory=Counter)

    async def news(self, now: datetime) -> list[News]:
        """What has changed since the last call, in the order in which it happened."""
        async with (
            self.pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            messages = [_message(row) for row in await connection.fetch(_MESSAGES)]
            states: list[Row] = [dict(row) for row in await connection.fetch(_STATES)]
            exits = Counter(
                {(r["partition"], r["journey"]): r["n"] for r in await connection.fetch(_EXITS)}
            )
        withdrawn = {m.run_id for m in messages if m.reason == "run_ended"}
        found = [*self._runs_ended(states, exits, withdrawn), *self._messages_told(messages, now)]
        return sorted(found, key=lambda news: news.at)

    def open_before(self, instant: datetime) -> bool:
        """Whether something that was due before the instant has not been decided yet."""
        return self._next_due <= instant or any(
            message.decision is None and message.created_at <= instant
            for message in self.messages.values()
        )

    def _messages_told(self, messages: Sequence[Message], now: datetime) -> Iterator[News]:
        for message in messages:
            before = self.messages.get(message.id)
            self.messages[message.id] = message
            if message.decision is None:
                if message.held_reason is not None and message.id not in self.held:
                    self.held.add(message.id)
                    yield Held(now, message)
            elif before is None or before.decision is None:
                assert message.decided_at is not None
                yield Decided(message.decided_at, message)

    def _runs_ended(
        self,
        states: Sequence[Row],
        exits: Counter[tuple[int, str]],
        withdrawn: set[str],
    ) -> Iterator[News]:
        """Runs that are gone while the partition counted as many more exits of their journey."""
        live = [(row, run) for row in states for run in unpack(row["state"]).runs]
        self._next_due = min(
            (run.waiting.due for _, run in live if isinstance(run.waiting, AtTime)), default=NEVER
        )
        latest = {row["id"]: (row["received_at"], row["name"]) for row in states}
        runs = {run.id: (row["partition"], row["id"], run.journey) for row, run in live}
        more = exits - self._exits
        for run, (partition, customer, journey) in self._runs.items():
            if run in runs or more[partition, journey] <= 0:
                continue
            more[partition, journey] -= 1
            if run not in withdrawn:
                at, event = latest[customer]
                yield Ended(at, customer, journey, event)
        self._runs, self._exits = runs, exits


def _message(row: Any) -> Message:
    return Message(
        id=row["id"],
        customer=row["customer"],
        run_id=row["run_id"],
        journey=row["journey"],
        channel=row["channel"] or row["channels"][0],
        decision=row["decision"],
        reason=row["reason"],
        created_at=row["created_at"],
        decided_at=row["decided_at"],
        not_before=row["not_before"],
        held_reason=row["held_reason"],
        passed_over=row["passed_over"],
        detail=row["detail"],
    )
