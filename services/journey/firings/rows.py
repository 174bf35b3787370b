"""Firings as rows: written once for an occasion, whoever plans it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg
import msgspec

from services.journey import metrics
from services.journey.core.firing import ON_DATE, SCHEDULED, Firing
from services.journey.core.occasions import Due
from services.journey.core.state import Trigger
from shared.db.connect import Connection

_INSERT = """
INSERT INTO firings
  (id, journey, version, kind, label, since, at, fired_at, missed, trigger, zones, rest,
   done_at, skipped)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
ON CONFLICT (id) DO NOTHING RETURNING id
"""
_OPEN = """
SELECT id, journey, version, label, since, at, fired_at, trigger, zones, rest FROM firings
WHERE done_at IS NULL ORDER BY fired_at, id LIMIT $1
"""
_MARKS = "SELECT journey, considered FROM firing_marks"
_MARK = """
INSERT INTO firing_marks AS m (journey, considered) VALUES ($1, $2)
ON CONFLICT (journey) DO UPDATE SET considered = excluded.considered WHERE m.considered = $3
"""


@dataclass(frozen=True, slots=True)
class Open:
    """A firing that has not come to everybody yet."""

    id: str
    firing: Firing
    zones: tuple[str, ...] | None
    rest: bool


def kind_of(firing: Firing) -> str:
    return {SCHEDULED: "schedule", ON_DATE: "date"}.get(firing.trigger.name, "audience")


async def insert(connection: Connection, dues: Sequence[Due]) -> list[Due]:
    """Those that had no row yet. Call inside the transaction that decides that they are due."""
    new: list[Due] = []
    for due in dues:
        firing = due.firing
        skipped = None if due.skipped is None else str(due.skipped)
        added = await connection.fetchval(
            _INSERT,
            firing.id,
            firing.journey,
            firing.version,
            kind_of(firing),
            firing.label,
            firing.after,
            firing.at,
            firing.fired_at,
            due.missed,
            msgspec.to_builtins(firing.trigger),
            None if due.zones is None else sorted(due.zones),
            due.rest,
            None if skipped is None else firing.fired_at,
            skipped,
        )
        if added is not None:
            new.append(due)
    return new


def told(dues: Sequence[Due]) -> None:
    """Count what has been committed."""
    for due in dues:
        kind = kind_of(due.firing)
        metrics.FIRINGS.labels(due.firing.journey, kind, due.skipped or "fired").inc()
        if not due.skipped:
            metrics.FIRING_LATE.set(due.firing.late.total_seconds())


async def open_firings(connection: Connection, limit: int) -> list[Open]:
    """The oldest that are not done."""
    return [_open(row) for row in await connection.fetch(_OPEN, limit)]


def _open(row: asyncpg.Record) -> Open:
    firing = Firing(
        row["journey"],
        row["version"],
        row["label"],
        row["since"],
        row["at"],
        row["fired_at"],
        msgspec.convert(row["trigger"], Trigger),
    )
    zones = None if row["zones"] is None else tuple(row["zones"])
    return Open(row["id"], firing, zones, row["rest"])


async def marks(connection: Connection) -> dict[str, datetime]:
    """Journey → up to where its occasions have been considered."""
    return {row["journey"]: row["considered"] for row in await connection.fetch(_MARKS)}


async def mark(connection: Connection, journey: str, before: datetime, now: datetime) -> bool:
    """Move the mark from where it was found; False if somebody else has moved it."""
    return await connection.execute(_MARK, journey, now, before) == "INSERT 0 1"
