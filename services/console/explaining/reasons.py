"""What stands behind a refusal, as far as a sentence about it needs to know. Pure."""

from datetime import datetime, timedelta
from typing import Any

from services.console.explaining.checks import plain
from services.journey.core.entry import key_text
from services.journey.core.flow import Flow, Scope
from services.journey.core.state import Customer, entry_name
from shared.decisions import Refusal
from shared.event import Event
from shared.workspace import duration_text


def refusal_detail(
    reason: str,
    flow: Flow,
    before: Customer,
    event: Event,
    at: datetime,
    scope: Scope | None,
) -> dict[str, Any]:
    """The numbers: how old and how old it may be, when the last entry was, since when it runs.

    `scope` is what the trigger saw, if there was one: it tells the key.
    """
    key = None
    if scope is not None:
        key = "" if flow.entry.key is None else key_text(flow.entry.key.evaluate(scope))
    match reason:
        case Refusal.TOO_OLD:
            age = at - event.timestamp
            return {
                "happened_at": plain(event.timestamp),
                "age": duration_text(age - age % timedelta(seconds=1)),
                "allowed": duration_text(flow.entry.max_age),
            }
        case Refusal.ALREADY_RUNNING:
            runs = [
                run
                for run in before.state.runs
                if run.journey == flow.journey and key in (None, run.key)
            ]
            return {"since": plain(runs[0].entered_at), "step": runs[0].step} if runs else {}
        case Refusal.REENTRY:
            rule = flow.entry.reentry
            last = _last_entry(flow, before, key)
            return {
                "rule": duration_text(rule) if isinstance(rule, timedelta) else rule,
                "last": None if last is None else plain(last),
            }
        case _:
            return {}


def _last_entry(flow: Flow, customer: Customer, key: str | None) -> datetime | None:
    entries = customer.state.entries
    if key is not None:
        return entries.get(entry_name(flow.journey, key))
    begins = entry_name(flow.journey, "")
    return max((at for name, at in entries.items() if name.startswith(begins)), default=None)
