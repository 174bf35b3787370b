"""Each decision of dispatch, made again by the pure policies.

Exact where dispatch's own time decides nothing: consent, addresses, holdouts and caps of customers
whom nobody was merged with, each message at the instant at which it last became decidable. Where a
message was tried again or held by a broken channel, where two of one instant may have been decided
in either order, where one was decided before an earlier one was there (an engine that hangs fires
late), and where two customers' places were joined while dispatch was at work, the recorded outcome
stands; these are counted. What had waited for a paused journey is decided at the
moment that its resume names.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

from services.dispatch.policy import (
    Drop,
    Hold,
    Message,
    Place,
    SendBy,
    contact_of,
    decide,
    order_key,
)
from shared.decisions import Category
from shared.workspace import WorkspaceSettings
from tests.chaos.oracle import Expected
from tests.chaos.tables import Row, Tables

Find = Callable[[str, str, object, object], None]


def judge_policies(
    find: Find,
    figures: dict[str, Any],
    expected: Expected,
    tables: Tables,
    settings: WorkspaceSettings,
) -> None:
    of_customers: dict[str, list[Message]] = defaultdict(list)
    for name, row in tables.messages.items():
        of_customers[row.customer].append(_message(name, row))
    judged = Counter[str]()
    for customer, messages in of_customers.items():
        traits = expected.addresses.get(customer, {})  # none: a device that nobody told of
        exact = customer not in expected.moved
        _Judge(find, judged, tables, settings, exact).customer(customer, traits, messages)
    figures["decisions judged"] = dict(judged)


def _message(name: str, row: Row) -> Message:
    """As it was made; where a broken channel made it wait, as it became decidable last."""
    at = row.decidable_at if _waited(row) else row.created_at
    return Message(
        name, row.journey, row.step, cast(Category, row.category), row.priority, row.channels,
        row.created_at, at, row.held_out, was_held=at != row.created_at,
    )  # fmt: skip


class _Judge:
    def __init__(
        self,
        find: Find,
        judged: Counter[str],
        tables: Tables,
        settings: WorkspaceSettings,
        exact: bool,
    ) -> None:
        self._find = find
        self._judged = judged
        self._tables = tables
        self._settings = settings
        self._exact = exact

    def customer(self, customer: str, traits: Mapping[str, Any], messages: list[Message]) -> None:
        """In the order in which dispatch decides them."""
        consents = traits.get("consent") or {}
        contact = contact_of(
            customer, traits, channels=("email", "push"), zone=self._settings.zone(),
            country=self._settings.country, consents=consents,
        )  # fmt: skip
        places: list[Place] = []
        instants = Counter(m.decidable_at for m in messages if m.category == "marketing")
        turn = [(order_key(message), message) for message in messages]
        crossed = _crossed([(m.id, self._tables.messages[m.id]) for m in messages])
        heapq.heapify(turn)
        while turn:
            _, message = heapq.heappop(turn)
            row = self._tables.messages[message.id]
            if row.reason == "run_ended":
                continue
            at = message.decidable_at
            anew = _anew(row, at)
            if anew is not None:
                instants[anew] += 1
                later = replace(message, decidable_at=anew, was_held=True)
                heapq.heappush(turn, (order_key(later), later))
                continue
            verdict = decide(message, contact, self._settings.policies, at, places)
            if isinstance(verdict, Hold):
                instants[verdict.until] += 1
                later = replace(message, decidable_at=verdict.until, was_held=True)
                heapq.heappush(turn, (order_key(later), later))
                continue
            settled = message.category == "transactional" or message.held_out
            is_exact = (
                self._exact
                and row.attempts <= 1
                and instants[at] == 1
                and message.id not in crossed
            )
            place = self._tables.places.get(message.id)
            self._one(customer, row, verdict, is_open=not (settled or is_exact) or _waited(row))
            if place is not None:
                places.append(Place(message.id, place[0], message.category, place[1]))
                if is_exact and not _waited(row) and place[0] != at:
                    self._find("place under the caps", customer, at, f"{place}: {row}")

    def _one(self, customer: str, row: Row, verdict: object, *, is_open: bool) -> None:
        wanted: tuple[str, str | None, str]
        match verdict:
            case SendBy(channel):
                wanted = ("sent", None, channel)
            case Drop(reason, channel):
                wanted = ("dropped", str(reason), channel)
            case _:
                raise AssertionError(verdict)
        got = ("sent" if row.decision == "unknown" else row.decision, row.reason, row.channel)
        if got == wanted:
            self._judged["as simulated"] += 1
        elif is_open:
            self._judged["as recorded"] += 1
        else:
            self._judged["otherwise"] += 1
            self._find("decision", customer, wanted, row)


def _crossed(rows: Sequence[tuple[str, Row]]) -> set[str]:
    """Those that were decided before one that came due earlier, and those that came due earlier."""
    due = sorted(
        (row.decidable_at, row.decided_at, name) for name, row in rows if row.decided_at is not None
    )
    crossed = set[str]()
    for ordered, furthest in ((due, max), (due[::-1], min)):
        bound = ordered[0][1] if ordered else None
        for _, decided_at, name in ordered:
            bound = decided_at if bound is None else furthest(bound, decided_at)
            if bound != decided_at:
                crossed.add(name)
    return crossed


def _anew(row: Row, at: datetime) -> datetime | None:
    """The moment behind the pause at which it was decided that was due before its journey's resume
    and had not been decided by then; that it had not is dispatch's affair, and told by the record.
    """
    if row.resumed_at is None or row.decided_at is None or row.anew_at is None:
        return None
    return row.anew_at if at <= row.resumed_at < row.decided_at else None


def _waited(row: Row) -> bool:
    """For a broken channel, whose end only the record tells."""
    return row.held_reason == "channel_paused"
