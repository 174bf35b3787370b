"""Notices that a law asks for, as people look at them: who is owed one, what proves the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from services.console.erasures import belongs_to, linked_ids
from services.console.reading import Before
from services.console.words import NOTICES_UNGIVEN, Language, sentences
from shared import notices
from shared.clock import EPOCH
from shared.db.connect import Connection
from shared.db.installation import partition_count
from shared.errors import NotFound
from shared.event import partition_of
from shared.notices import Notice, Owed
from shared.templates import choose, template_name
from shared.templates.names import locale_of
from shared.workspace import WorkspaceSettings
from shared.workspace_store import newest_settings, unpack_files

AHEAD = timedelta(days=30)
"""How far ahead a customer's page shows what is still to be given."""
_MOST_GIVEN = 50

# Of each notice its last attempt: that one was taken. A dispatcher follows a new revision within a
# second, so the revision in force at the attempt is the one whose words went out.
_GIVEN = """
SELECT m.id, m.journey, m.customer, m.template, m.channel, m.created_at, m.decided_at,
  m.provider_id, a.adapter,
  (SELECT max(w.revision) FROM workspaces w
    WHERE w.active_from <= coalesce(a.started_at, m.decided_at)) AS revision
FROM unnest($1::int[], $2::text[]) AS w(partition, customer)
JOIN messages m ON m.partition = w.partition AND m.customer = w.customer
LEFT JOIN LATERAL (
  SELECT a.started_at, a.adapter FROM attempts a
  WHERE a.partition = m.partition AND a.message_id = m.id ORDER BY a.number DESC LIMIT 1
) a ON true
WHERE m.journey = ANY ($3::text[]) AND m.decision = 'sent'
ORDER BY m.decided_at DESC LIMIT $4
"""
_TRAITS = "SELECT traits FROM customers WHERE partition = $1 AND id = $2"


@dataclass(frozen=True, slots=True)
class Given:
    """A notice that was given: when, and in which words."""

    notice: str
    message: str
    channel: str
    sent_at: datetime
    adapter: str | None
    provider_id: str | None
    revision: int | None
    """Of the workspace whose words went out."""
    file: str | None
    wording: str | None
    """The template's source."""
    wording_hash: str | None


@dataclass(frozen=True, slots=True)
class Shown:
    """One customer's."""

    customer: str
    owed: tuple[Owed, ...]
    given: tuple[Given, ...]


async def overdue(
    connection: Connection,
    until: datetime,
    *,
    only: str | None = None,
    after: Before | None = None,
    limit: int,
) -> tuple[list[tuple[Notice, int, datetime | None]], list[Owed]]:
    """Each notice in force with the number of customers to whom it was due at `until` and the
    first such instant; and the customers, longest due first, behind the place `after`."""
    asked = notices.in_force(await newest_settings(connection))
    if only is not None:
        asked = tuple(notice for notice in asked if only in (notice.name, notice.duty.id))
        if not asked:
            raise NotFound(
                f"no pack in force asks for a notice `{only}`",
                hint="GET /api/notices tells those that are asked for",
            )
    totals, found = [], []
    place = (after.at, after.id) if after is not None else (EPOCH, "")
    for notice in asked:
        totals.append((notice, *await notices.count(connection, notice, until)))
        found += await notices.listed(connection, notice, until, place, limit)
    found.sort(key=lambda owed: (owed.due_at, owed.customer))
    return totals, found[:limit]


async def of_customer(connection: Connection, customer: str, now: datetime) -> Shown:
    """What is owed, overdue or within `AHEAD`, and what was given. Raises NotFound."""
    partitions = await partition_count(connection)
    owner = await belongs_to(connection, customer, partitions)
    traits = await connection.fetchval(_TRAITS, partition_of(owner, partitions), owner)
    if traits is None:
        raise NotFound(f"there is no customer `{customer}`", hint="ids are case-sensitive")
    names = (owner, *await linked_ids(connection, owner))
    ids = [(partition_of(name, partitions), name) for name in names]
    settings = await newest_settings(connection)
    asked = notices.in_force(settings)
    owed = await owed_to(connection, settings, now + AHEAD, ids)
    rows = await connection.fetch(
        _GIVEN,
        [partition for partition, _ in ids],
        [name for _, name in ids],
        [notice.duty.id for notice in asked],
        _MOST_GIVEN,
    )
    wordings = _Wordings(await _revisions(connection, rows), traits)
    by_journey = {notice.duty.id: notice.name for notice in asked}
    given = tuple(wordings.given(by_journey[row["journey"]], row) for row in rows)
    return Shown(owner, owed, given)


async def owed_to(
    connection: Connection,
    settings: WorkspaceSettings,
    until: datetime,
    ids: Sequence[tuple[int, str]],
) -> tuple[Owed, ...]:
    """What was due to one customer at `until`, longest due first; `ids`: partition and name of the
    customer and of linked ids."""
    found = [
        owed
        for notice in notices.in_force(settings)
        for owed in await notices.of_customer(connection, notice, until, ids)
    ]
    return tuple(sorted(found, key=lambda owed: owed.due_at))


def why(owed: Owed, language: Language) -> str:
    """Why it was not sent, as a sentence."""
    own = NOTICES_UNGIVEN.get(owed.why)
    return getattr(own, language) if own is not None else sentences(language).get(owed.why, "")


async def _revisions(
    connection: Connection, rows: Sequence[Any]
) -> dict[int, tuple[Mapping[str, bytes], str | None]]:
    """Revision → its files, and the language that it is written in."""
    wanted = sorted({row["revision"] for row in rows if row["revision"] is not None})
    found = await connection.fetch(
        "SELECT revision, files, settings->>'locale' AS locale FROM workspaces"
        " WHERE revision = ANY ($1::bigint[])",
        wanted,
    )
    return {row["revision"]: (unpack_files(row["files"]), row["locale"]) for row in found}


class _Wordings:
    def __init__(
        self,
        revisions: Mapping[int, tuple[Mapping[str, bytes], str | None]],
        traits: Mapping[str, Any],
    ) -> None:
        self._revisions = revisions
        self._traits = traits

    def given(self, notice: str, row: Any) -> Given:
        file = self._file(row)
        files, _ = self._revisions.get(row["revision"], ({}, None))
        content = files.get(file) if file is not None else None
        return Given(
            notice=notice,
            message=row["id"],
            channel=row["channel"] or "",
            sent_at=row["decided_at"],
            adapter=row["adapter"],
            provider_id=row["provider_id"],
            revision=row["revision"],
            file=file,
            wording=None if content is None else content.decode("utf-8", "replace"),
            wording_hash=None if content is None else sha256(content).hexdigest(),
        )

    def _file(self, row: Any) -> str | None:
        """In the language that the customer reads today: which one it was then is not kept."""
        if row["revision"] not in self._revisions:
            return None
        files, language = self._revisions[row["revision"]]
        locale = locale_of(self._traits, language)
        paths = {name.key: path for path in files if (name := template_name(path)) is not None}
        return choose(paths, row["template"], row["channel"] or "", locale)
