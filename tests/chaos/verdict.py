"""Whether what arrived is what the recorded log comes to: none missing, none twice.

Everything else that was stored is held against the oracle as well; a house whose mails are right
by luck has wrong states. A finding names the customer, what was expected and what was found.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from shared.workspace import WorkspaceSettings
from tests.chaos import policies
from tests.chaos.oracle import Expected, Made
from tests.chaos.recorded import Stored
from tests.chaos.sink import mail_id
from tests.chaos.tables import Row, Tables

_MOST = 25
"""Findings of one kind that are told; the rest are counted."""
_BEHIND = timedelta(seconds=20)
"""An exit that had lain in the log for so long when a message was made should have undone it."""
_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Finding:
    what: str
    customer: str
    expected: str
    got: str

    def __str__(self) -> str:
        return f"{self.what}: customer {self.customer}: expected {self.expected}, got {self.got}"


@dataclass
class Verdict:
    findings: list[Finding] = field(default_factory=list)
    totals: Counter[str] = field(default_factory=Counter)
    """Findings by kind, told or not."""
    figures: dict[str, Any] = field(default_factory=dict)

    def find(self, what: str, customer: str, expected: object, got: object) -> None:
        self.totals[what] += 1
        if self.totals[what] <= _MOST:
            self.findings.append(Finding(what, customer, str(expected), str(got)))

    def check(self, what: str, expected: object, got: object, customer: str = "-") -> None:
        if expected != got:
            self.find(what, customer, expected, got)

    @property
    def is_good(self) -> bool:
        return not self.totals


@dataclass(frozen=True)
class Evidence:
    expected: Expected
    tables: Tables
    mails: Counter[str]
    batches: Mapping[int, Sequence[Stored]]
    settings: WorkspaceSettings
    answered: AbstractSet[str]
    """Ids of the events that ingest has answered for; empty: not known."""
    most_unknown: int


def judge(evidence: Evidence) -> Verdict:
    verdict = Verdict()
    expected, tables = evidence.expected, evidence.tables
    for problem in expected.problems:
        verdict.find("log", "-", "a log that can be replayed", problem)
    for aside in tables.set_aside:
        verdict.find("set aside", "-", "nothing", aside)
    verdict.check("timers left", 0, tables.timers)
    verdict.check("outbox left", 0, tables.outbox)
    _intake(verdict, evidence)
    _closure(verdict, expected)
    _messages(verdict, evidence)
    _sink(verdict, evidence)
    policies.judge_policies(verdict.find, verdict.figures, expected, tables, evidence.settings)
    _states(verdict, expected, tables)
    _ownership(verdict, evidence.batches)
    verdict.figures |= {
        "records": expected.records,
        "events from outside": len(expected.received),
        "customers": len(expected.states),
        "merged customers": len(expected.moved),
        "messages": len(tables.messages),
        "mails": evidence.mails.total(),
        "decisions": dict(Counter(_told(row) for row in tables.messages.values())),
    }
    return verdict


def _told(row: Row) -> str:
    return f"{row.decision}" if row.reason is None else f"{row.decision} ({row.reason})"


def _intake(verdict: Verdict, evidence: Evidence) -> None:
    for name in evidence.answered - evidence.expected.received:
        verdict.find("answered, not in the log", "-", name, "nothing")
    ids = Counter(name for _, name in evidence.tables.history.elements())
    for name in evidence.answered - ids.keys():
        verdict.find("answered, not in the history", "-", name, "nothing")
    for name in evidence.answered:
        if ids[name] > 1:
            verdict.find("twice in the history", "-", name, ids[name])


def _closure(verdict: Verdict, expected: Expected) -> None:
    """What the log has of the engine is what the engine had to append, no more and no less."""
    for name in expected.emitted - expected.seen:
        verdict.find("not in the log", name[1], name, "nothing")
    for name in expected.seen - expected.emitted:
        verdict.find("in the log without a cause", name[1], "nothing", name)


def _messages(verdict: Verdict, evidence: Evidence) -> None:
    expected, rows = evidence.expected, evidence.tables.messages
    for name in expected.messages.keys() - rows.keys():
        made = expected.messages[name]
        verdict.find("message missing", made.customer, _named(made), "no message")
    for name in rows.keys() - expected.messages.keys():
        verdict.find("message without a cause", rows[name].customer, "nothing", rows[name])
    recalled = Counter[str]()
    for name in rows.keys() & expected.messages.keys():
        made, row = expected.messages[name], rows[name]
        said = (row.journey, row.step, row.held_out, row.created_at)
        queued = made.queued
        wanted = (queued.journey, queued.step, queued.held_out, queued.at)
        verdict.check("message", wanted, said, row.customer)
        verdict.check("message undecided", "decided", row.status, row.customer)
        recalled[_decision(verdict, evidence, name, row)] += 1
    verdict.figures["withdrawn"] = recalled["withdrawn"]
    verdict.figures["past recall"] = recalled["past recall"]


def _named(made: Made) -> str:
    queued = made.queued
    return f"{queued.id} {queued.journey}/{queued.step} at {queued.at}"


def _decision(verdict: Verdict, evidence: Evidence, name: str, row: Row) -> str:
    """A withdrawal, or what dispatch told the log."""
    expected = evidence.expected
    withdrawn = expected.withdrawn.get(name)
    if row.reason == "run_ended":
        if withdrawn is None:
            verdict.find("withdrawn without a cause", row.customer, name, row)
        return "withdrawn"
    said = expected.outcomes.get(name)
    if said != (row.decision, row.reason):
        verdict.find("outcome in the log", row.customer, _told(row), f"{name}: {said}")
    if withdrawn is None:
        return "decided"
    if row.decision == "dropped":
        return "dropped before"  # by a policy, before its run ended
    if row.attempts == 0:
        verdict.find("not withdrawn", row.customer, "dropped (run_ended)", f"{name}: {row}")
    batches = evidence.batches.get(expected.messages[name].partition, ())
    made_in = _batch_of(batches, row.created_at)
    if made_in is not None and made_in.at > withdrawn.received_at + _BEHIND:
        why = f"its exit had been in the log since {withdrawn.received_at}"
        verdict.find("sent though behind", row.customer, f"run_ended: {why}", f"{name}: {row}")
    return "past recall"


def _batch_of(batches: Sequence[Stored], at: datetime) -> Stored | None:
    """The first that reached the instant."""
    place = bisect_left(batches, at - _INSTANT, key=lambda batch: batch.log_time)
    return batches[place] if place < len(batches) else None


def _sink(verdict: Verdict, evidence: Evidence) -> None:
    """Each mail that was `sent` arrived once; `unknown` ones once or not at all; no others."""
    rows, unknown = evidence.tables.messages, 0
    known: dict[str, Row] = {}
    for name, row in rows.items():
        arrived = evidence.mails[mail_id(name)]
        known[mail_id(name)] = row
        by_mail = row.channel == "email"
        unknown += row.decision == "unknown"
        if row.decision == "sent" and by_mail:
            verdict.check("mail", 1, arrived, f"{row.customer} ({name} {row.journey}/{row.step})")
        elif row.decision == "unknown" and by_mail:
            if arrived > 1:
                verdict.find("mail twice", row.customer, "0 or 1", f"{arrived} of {name}")
        elif arrived:
            verdict.find("mail of what was not sent", row.customer, _told(row), f"{name} arrived")
    for name in evidence.mails.keys() - known.keys():
        verdict.find("mail of no message", "-", "nothing", name)
    if unknown > evidence.most_unknown:
        verdict.find("unknown", "-", f"at most {evidence.most_unknown}", unknown)
    verdict.figures["unknown"] = unknown
    verdict.figures["unknown at most"] = evidence.most_unknown


def _states(verdict: Verdict, expected: Expected, tables: Tables) -> None:
    _same(verdict, "state", expected.states, tables.states, str)
    _same(verdict, "history", expected.history, tables.history, lambda key: f"{key[0]} ({key[1]})")
    _same(verdict, "count", expected.counts, tables.counts, lambda key: f"- {key}")
    _same(verdict, "conversion", expected.conversions, tables.conversions, lambda key: key[0])


def _same(
    verdict: Verdict,
    what: str,
    expected: Mapping[Any, Any],
    got: Mapping[Any, Any],
    customer: Callable[[Any], str],
) -> None:
    for key in _keys(expected, got):
        if expected.get(key) != got.get(key):
            verdict.find(what, customer(key), expected.get(key), got.get(key))


def _keys(one: Mapping[Any, Any], other: Mapping[Any, Any]) -> Iterable[Any]:
    return sorted(one.keys() | other.keys())


def _ownership(verdict: Verdict, batches: Mapping[int, Sequence[Stored]]) -> None:
    """Epochs and offsets of what was stored never go back; nor does log time."""
    for partition, stored in batches.items():
        for before, after in pairwise(stored):
            if after.epoch < before.epoch or after.offset < before.offset:
                verdict.find("ownership", f"partition {partition}", before, after)
            if after.log_time < before.log_time:
                verdict.find("log time went back", f"partition {partition}", before, after)
    verdict.figures["batches"] = sum(map(len, batches.values()))
    verdict.figures["ownerships"] = sum(len({b.epoch for b in some}) for some in batches.values())
