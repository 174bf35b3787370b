"""What could not be used, looked at and replayed once it can be: by the API and by the command.

A replay reads the record as this release reads it (or a mended payload in its stead) and puts the
event into the log's outbox in the transaction that marks the record. The event's id is the one it
always had, so that a replay of what has arrived meanwhile, or a second replay, counts once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from services.ingest.again import Circumstances, read_again, record_again
from services.ingest.limits import MAX_EVENT_BYTES
from services.ingest.live import judge_of
from services.ingest.normalise import Scene
from shared.db.connect import Connection, Pool, unavailable_when_lost
from shared.db.installation import partition_count
from shared.errors import BadInput, NotFound
from shared.event import Event
from shared.log import outbox
from shared.tracking import Judge

MOST_AT_ONCE = 1000

_LIST = """
SELECT id, at, source, reason, replayed_at, replayed_by, octet_length(payload) AS bytes
FROM set_aside
WHERE ($1::text IS NULL OR source = $1) AND ($2::text IS NULL OR reason = $2)
  AND ($3::bool OR replayed_at IS NULL) AND ($4::bigint IS NULL OR id < $4)
ORDER BY id DESC LIMIT $5
"""
_COUNT = """
SELECT source, reason, count(*) FILTER (WHERE replayed_at IS NULL) AS waiting,
  count(*) FILTER (WHERE replayed_at IS NOT NULL) AS replayed, max(at) AS last_at
FROM set_aside GROUP BY source, reason ORDER BY waiting DESC, source, reason
"""
_ONE = """
SELECT id, at, source, reason, replayed_at, replayed_by, octet_length(payload) AS bytes,
  payload, scene
FROM set_aside WHERE id = $1
"""
_MARK = "UPDATE set_aside SET replayed_at = $2, replayed_by = $3 WHERE id = $1"
_WAITING = """
SELECT id FROM set_aside WHERE replayed_at IS NULL
  AND ($1::text IS NULL OR source = $1) AND ($2::text IS NULL OR reason = $2)
ORDER BY id LIMIT $3
"""


class StillUnusable(BadInput):
    """It cannot be used as it stands."""

    code = "still_unusable"
    status = 422


@dataclass(frozen=True, slots=True)
class Aside:
    """One record, without what was in it."""

    id: int
    at: datetime
    source: str
    """The write key's name; `log` for a record of the log that the engine could not take in."""
    reason: str
    replayed_at: datetime | None
    replayed_by: str | None
    bytes: int


@dataclass(frozen=True, slots=True)
class Content:
    record: Aside
    payload: bytes
    """As it came, cut at the size limit of an event. Personal data."""
    circumstances: Circumstances | None


@dataclass(frozen=True, slots=True)
class Count:
    source: str
    reason: str
    waiting: int
    replayed: int
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Replayed:
    id: int
    events: tuple[str, ...]
    """Ids of the events that were put into the log; empty if it had been replayed before."""


@dataclass(frozen=True, slots=True)
class Unmended:
    id: int
    why: str


async def list_aside(
    connection: Connection,
    *,
    source: str | None = None,
    reason: str | None = None,
    replayed: bool = False,
    before: int | None = None,
    limit: int = 50,
) -> list[Aside]:
    """The newest first; with `replayed`, those that have been replayed as well."""
    async with unavailable_when_lost():
        rows = await connection.fetch(_LIST, source, reason, replayed, before, limit)
    return [Aside(*row) for row in rows]


async def count_aside(connection: Connection) -> list[Count]:
    async with unavailable_when_lost():
        return [Count(*row) for row in await connection.fetch(_COUNT)]


async def show_aside(connection: Connection, number: int) -> Content:
    """Raises NotFound."""
    return await _read(connection, _ONE, number)


async def replay(
    pool: Pool, number: int, *, by: str, now: datetime, payload: bytes | None = None
) -> Replayed:
    """Put the event into the log, as it is or as mended. Raises NotFound, StillUnusable.

    What has been replayed is left alone, unless a payload is given.
    """
    if payload is not None and len(payload) > MAX_EVENT_BYTES:
        raise BadInput(f"an event has at most {MAX_EVENT_BYTES} bytes")
    async with unavailable_when_lost(), pool.acquire() as connection, connection.transaction():
        content = await _read(connection, _ONE + " FOR UPDATE", number)
        if content.record.replayed_at is not None and payload is None:
            return Replayed(number, ())
        events = understood(content, payload, await newest_judge(connection))
        partitions = await partition_count(connection)
        await outbox.put(connection, events, partitions)
        await connection.execute(_MARK, number, now, by)
    return Replayed(number, tuple(event.id for event in events))


async def replay_waiting(
    pool: Pool, *, by: str, now: datetime, source: str | None = None, reason: str | None = None
) -> tuple[list[Replayed], list[Unmended]]:
    """Replay the oldest `MOST_AT_ONCE` that wait; what still cannot be used stays."""
    async with unavailable_when_lost(), pool.acquire() as connection:
        rows = await connection.fetch(_WAITING, source, reason, MOST_AT_ONCE)
    done: list[Replayed] = []
    left: list[Unmended] = []
    for row in rows:
        try:
            done.append(await replay(pool, row["id"], by=by, now=now))
        except StillUnusable as error:
            left.append(Unmended(row["id"], str(error)))
    return done, left


async def newest_judge(connection: Connection) -> Judge | None:
    """Of the tracking plan that is published now."""
    return judge_of(
        await connection.fetchval("SELECT tracking FROM workspaces ORDER BY revision DESC LIMIT 1")
    )


def understood(
    content: Content, payload: bytes | None = None, judge: Judge | None = None
) -> Sequence[Event]:
    """The events of a record, or of the payload in its stead. Raises StillUnusable."""
    raw = content.payload if payload is None else payload
    if content.circumstances is None and (record := _record(raw)) is not None:
        return (record,)
    circumstances = content.circumstances or Circumstances(
        Scene(content.record.at, content.record.source)
    )
    try:
        reading = read_again(raw, circumstances, content.record.id, judge)
    except BadInput as error:
        raise StillUnusable(f"it cannot be read: {error}", hint=_HINT) from error
    if reading.refused:
        reason = reading.refused[0].reason
        raise StillUnusable(f"it cannot be used still: {reason}", hint=_HINT)
    if not reading.events:
        raise StillUnusable("there is no event in it", hint=_HINT)
    return reading.events


_HINT = "give a mended payload along; docs/ingest.md lists the reasons"


def _record(raw: bytes) -> Event | None:
    """What the engine set aside is a record of the log already, if it was an event at all."""
    try:
        event = record_again(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return event if event.customer and b"\\u0000" not in raw else None


async def _read(connection: Connection, query: str, number: int) -> Content:
    async with unavailable_when_lost():
        row = await connection.fetchrow(query, number)
    if row is None:
        raise NotFound(f"nothing set aside has the number {number}")
    *record, payload, scene = row
    circumstances = None if scene is None else msgspec.convert(scene, Circumstances, strict=False)
    return Content(Aside(*record), payload, circumstances)
