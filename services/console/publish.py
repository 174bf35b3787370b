"""Publish a workspace: what an apply would change, and the apply; pause, resume, archive.

An apply is one transaction under one lock, so that two at once take turns: the second compares
with what the first has published, and is told of it if it named its base. A version is the content
of a journey's file; the same content again is the same version again, also after others. A
revision is in force from a moment that lies ahead of its commit, so that no event has been decided
by the old revision that ought to have met the new one.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Literal, get_args

import structlog
from pydantic import ValidationError

from services.console.candidate import Candidate, read_candidate
from services.console.changes import (
    NOTHING,
    Base,
    FileChange,
    JourneyChange,
    Version,
    compare_files,
    compare_journeys,
)
from services.console.in_flight import count_in_flight
from services.console.plan_warnings import with_warnings
from services.console.policy_warnings import policy_warnings
from services.console.prospects import FlowOf, with_prospects
from services.console.refusal import problem_row
from services.journey.core.flow import Flow
from services.journey.core.spans import RESUME_SPREAD
from services.journey.language.compile import JourneyRefused, compile_journey
from services.journey.language.compile_segments import stored_sources
from services.journey.language.problems import nearest
from shared.clock import REAL, Clock
from shared.db.connect import Connection, Pool, unavailable_when_lost
from shared.errors import BadInput, Conflict, NotFound
from shared.workspace import WorkspaceSettings
from shared.workspace_store import CHANNEL, pack_files, unpack_files

logger = structlog.get_logger()

Status = Literal["active", "paused", "archived"]
InFlightRule = Literal["pin", "migrate", "end"]

_AHEAD = timedelta(seconds=1)
"""Real time between an apply and its coming into force: more than its commit takes."""
_LOCK = 0x44414E50
# Messages that a pause has kept are decided anew at the resume, which is now the instant at which
# they become decidable: caps count it, and what has outlived `expire_after` is dropped. Each
# customer's at a moment of their own.
_RESUME = """
UPDATE messages m SET held_reason = 'paused', decidable_at = r.at, not_before = r.at,
  waits_for = NULL
FROM (
  SELECT m.partition, m.id,
    $2::timestamptz + $3::interval * ((hashtextextended(m.customer, 0) & 65535) / 65536.0) AS at
  FROM messages m
  WHERE m.journey = $1 AND m.status IN ('staged', 'queued') AND m.status <> 'decided'
    AND m.not_before <= $2
  FOR UPDATE
) r
WHERE m.partition = r.partition AND m.id = r.id
"""
_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Plan:
    base_revision: int
    """The revision compared with; 0 where nothing has been published yet."""
    hash: str
    identical: bool
    """Nothing would change: an apply would publish nothing."""
    journeys: tuple[JourneyChange, ...]
    files: tuple[FileChange, ...]
    warnings: tuple[str, ...] = ()
    """Of the workspace as a whole; a journey's own stand with it."""
    file_warnings: tuple[Mapping[str, object], ...] = ()
    """Those with a place in a file, as `dangol validate` prints them."""


@dataclass(frozen=True, slots=True)
class Applied:
    changed: bool
    """False where the very same workspace had been published already."""
    revision: int
    hash: str
    active_from: datetime
    journeys: tuple[JourneyChange, ...]
    files: tuple[FileChange, ...]
    in_flight: str = "pin"


async def plan(connection: Connection, files: Mapping[str, bytes]) -> Plan:
    """Raises Refused with every problem of the workspace, or Unavailable."""
    candidate = await asyncio.to_thread(read_candidate, files)
    async with (
        unavailable_when_lost(),
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        base = await newest_base(connection)
        known = await _known_versions(connection, candidate, base)
        runs = await count_in_flight(connection)
    same = candidate.hash == base.hash
    stored = {name: _flows(versions) for name, versions in known.items()}
    changes = [
        with_prospects(
            change,
            runs.get(change.journey, ()),
            stored.get(change.journey, _flows(())),
            candidate.flows.get(change.journey),
            concerned=_is_concerned(change, same=same),
        )
        for change in compare_journeys(candidate, base, known)
    ]
    return Plan(
        base.revision,
        candidate.hash,
        same,
        with_warnings(changes, lambda name: stored.get(name, _flows(())), candidate.flows),
        compare_files(candidate, base),
        () if base.settings is None else policy_warnings(base.settings, candidate.settings),
        tuple(problem_row(warning, "warning") for warning in candidate.warnings),
    )


def _flows(known: Collection[Version]) -> FlowOf:
    """Stored versions' flows, compiled when they are asked for."""
    sources = {version.number: version.source for version in known}

    @cache
    def flow(number: int) -> Flow | None:
        try:
            return compile_journey(sources[number], number)
        except (KeyError, JourneyRefused):
            return None

    return flow


def _is_concerned(change: JourneyChange, *, same: bool) -> bool:
    """A rule for runs in flight is about the journeys that the apply changes, or, where the
    workspace is the very same one again, about all of them.
    """
    return same or change.change != "unchanged"


async def apply(
    pool: Pool,
    files: Mapping[str, bytes],
    by: str,
    clock: Clock,
    base_revision: int | None = None,
    in_flight: str = "pin",
) -> Applied:
    """Publish the workspace if it differs from the newest.

    `base_revision` is the revision that the caller planned against. Raises Refused with every
    problem of the workspace, Conflict if the newest revision is another, BadInput or Unavailable;
    then nothing has been published. (After Unavailable the commit may have happened; applying
    again is harmless.)

    `in_flight` other than `pin` is a rule for the runs that other versions have in flight when the
    revision comes into force. With the very same workspace it is published again for their sake,
    if there are any.
    """
    _check_rule(in_flight)
    candidate = await asyncio.to_thread(read_candidate, files)
    packed = await asyncio.to_thread(pack_files, candidate.files)
    async with unavailable_when_lost(), pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        base = await newest_base(connection)
        _check_base(base, base_revision)
        known = await _known_versions(connection, candidate, base)
        journeys = compare_journeys(candidate, base, known)
        same = candidate.hash == base.hash
        if same and base.active_from is not None:
            left = in_flight != "pin" and await _are_left(connection, journeys)
            if not left:
                return Applied(False, base.revision, base.hash, base.active_from, journeys, ())
        await _store_journeys(connection, candidate, journeys, clock)
        rules = {
            change.journey: {"rule": in_flight, "version": change.version}
            for change in journeys
            if in_flight != "pin" and _is_concerned(change, same=same) and change.was is not None
        }
        active_from = await _store_revision(
            connection, candidate, base, journeys, rules, packed, by, clock
        )
    logger.info(
        "a workspace was published",
        action="workspace_applied",
        revision=base.revision + 1,
        by=by,
        in_flight=in_flight,
        journeys={c.journey: c.change for c in journeys if c.change != "unchanged"},
    )
    changed = compare_files(candidate, base)
    return Applied(
        True, base.revision + 1, candidate.hash, active_from, journeys, changed, in_flight
    )


def _check_base(base: Base, expected: int | None) -> None:
    if expected is not None and expected != base.revision:
        raise Conflict(
            f"the workspace has been published since: revision {base.revision} is the newest,"
            f" not {expected}",
            hint="look at the plan again, then apply",
        )


def _check_rule(rule: str) -> None:
    if rule not in get_args(InFlightRule):
        raise BadInput(f"`{rule}` is no rule for runs in flight", hint="write pin, migrate or end")


async def _are_left(connection: Connection, journeys: Iterable[JourneyChange]) -> bool:
    """Whether runs are in flight on other versions than those that are published."""
    versions = {change.journey: change.version for change in journeys}
    runs = await count_in_flight(connection)
    return any(
        row.version != versions[journey]
        for journey, rows in runs.items()
        if journey in versions
        for row in rows
    )


async def newest_base(connection: Connection) -> Base:
    row = await connection.fetchrow(
        "SELECT revision, hash, active_from, files, journeys, settings FROM workspaces"
        " ORDER BY revision DESC LIMIT 1"
    )
    if row is None:
        return NOTHING
    files = unpack_files(row["files"])
    try:
        settings = WorkspaceSettings.model_validate(row["settings"])
    except ValidationError:
        settings = None
    return Base(row["revision"], row["hash"], row["active_from"], files, row["journeys"], settings)


async def _known_versions(
    connection: Connection, candidate: Candidate, base: Base
) -> dict[str, list[Version]]:
    """All stored versions of the candidate's and the base's journeys."""
    rows = await connection.fetch(
        "SELECT journey, version, hash, source FROM journey_versions"
        " WHERE journey = ANY($1) ORDER BY journey, version",
        list(candidate.journeys.keys() | base.journeys.keys()),
    )
    known: dict[str, list[Version]] = {}
    for row in rows:
        version = Version(row["version"], row["hash"], row["source"])
        known.setdefault(row["journey"], []).append(version)
    return known


async def _store_journeys(
    connection: Connection, candidate: Candidate, changes: tuple[JourneyChange, ...], clock: Clock
) -> None:
    """New versions, and the status of journeys that come and go."""
    now = await _now(connection, clock)
    new = [(c.version, candidate.journeys[c.journey]) for c in changes if c.is_new]
    await connection.executemany(
        "INSERT INTO journey_versions (journey, version, hash, file, source, created_at)"
        " VALUES ($1, $2, $3, $4, $5, $6)",
        [(s.id, version, s.digest, s.file, s.source, now) for version, s in new],
    )
    await connection.execute(
        "INSERT INTO journeys (id, status) SELECT unnest($1::text[]), 'active'"
        " ON CONFLICT (id) DO UPDATE SET status = 'active'",
        [change.journey for change in changes if change.change == "added"],
    )
    await connection.execute(
        "UPDATE journeys SET status = 'archived' WHERE id = ANY($1::text[])",
        [change.journey for change in changes if change.change == "removed"],
    )


async def _store_revision(
    connection: Connection,
    candidate: Candidate,
    base: Base,
    changes: tuple[JourneyChange, ...],
    rules: Mapping[str, Mapping[str, object]],
    packed: bytes,
    by: str,
    clock: Clock,
) -> datetime:
    """The last of the transaction, so that the moment it names lies well ahead of the commit."""
    active_from = await _now(connection, clock)
    if base.active_from is not None:
        active_from = max(active_from + _AHEAD * clock.speed, base.active_from + _INSTANT)
    await connection.execute(
        "INSERT INTO workspaces (revision, hash, files, settings, journeys, active_from,"
        " applied_by, segments, in_flight, tracking)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        base.revision + 1,
        candidate.hash,
        packed,
        candidate.settings.model_dump(mode="json", by_alias=True),
        {change.journey: change.version for change in changes if change.version},
        active_from,
        by,
        stored_sources(candidate.segments),
        rules,
        None if candidate.tracking is None else candidate.tracking.model_dump(mode="json"),
    )
    for change in changes:
        if change.change in ("added", "removed"):
            status: Status = "active" if change.change == "added" else "archived"
            await _record_change(connection, change.journey, status, active_from)
    await connection.execute("SELECT pg_notify($1, '')", CHANNEL)
    return active_from


async def _record_change(
    connection: Connection, journey: str, status: Status, at: datetime
) -> None:
    """The engine goes by this: an event meets the status that held when it was received."""
    await connection.execute(
        "INSERT INTO journey_changes (journey, status, at) VALUES ($1, $2, $3)",
        journey,
        status,
        at,
    )


async def _now(connection: Connection, clock: Clock) -> datetime:
    """By the database's clock, from which the log's stamps come, too."""
    return clock.at(await connection.fetchval("SELECT clock_timestamp()"))


async def set_status(pool: Pool, journey: str, status: Status, clock: Clock = REAL) -> Status:
    """Pause, resume or archive; returns what the status was. Harmless if it is so already.

    Dispatch obeys at once. For entries and steps it holds from a moment a second ahead, so that
    none has been decided by the old status that ought to have met the new one. Raises NotFound,
    Conflict or Unavailable.
    """
    async with unavailable_when_lost(), pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        rows = await connection.fetch("SELECT id, status FROM journeys")
        statuses: dict[str, Status] = {row["id"]: row["status"] for row in rows}
        if journey not in statuses:
            raise NotFound(f"there is no journey `{journey}`", hint=nearest(journey, statuses))
        was = statuses[journey]
        if was == status:
            return was
        if was == "archived":
            await _check_revival(connection, journey, status)
        at = await _now(connection, clock) + _AHEAD * clock.speed
        await connection.execute("UPDATE journeys SET status = $2 WHERE id = $1", journey, status)
        await _record_change(connection, journey, status, at)
        if was == "paused":
            await connection.execute(_RESUME, journey, at, RESUME_SPREAD)
        await connection.execute("SELECT pg_notify($1, '')", CHANNEL)
    logger.info(
        "a journey's status was changed",
        action="journey_status",
        journey=journey,
        status=status,
        was=was,
    )
    return was


async def _check_revival(connection: Connection, journey: str, status: Status) -> None:
    """An archived journey comes back by resume, and only while its file is published."""
    if status == "paused":
        raise Conflict(f"`{journey}` is archived", hint="resume it first, then pause it")
    base = await newest_base(connection)
    if journey not in base.journeys:
        raise Conflict(
            f"`{journey}` is archived because its file is gone",
            hint="put the file back into the workspace and apply it",
        )
