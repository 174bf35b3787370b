"""A message that was sent, and the event by which the log hears what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from shared.event import Event, receipt_event


class Row(Protocol):
    def __getitem__(self, name: str, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class Sent:
    """A message as its receipts name it."""

    id: str
    customer: str
    run_id: str
    journey: str
    step: str
    channel: str
    sent_at: datetime | None = None


def sent_of(row: Row, channel: str | None = None) -> Sent:
    """From its row of `messages`; `channel` where that of the decision does not say."""
    return Sent(
        id=row["id"],
        customer=row["customer"],
        run_id=row["run_id"],
        journey=row["journey"],
        step=row["step"],
        channel=channel or row["channel"] or "",
        sent_at=row["decided_at"],
    )


def receipt_of(
    message: Sent, outcome: str, now: datetime, details: Mapping[str, Any] | None = None
) -> Event:
    """Each outcome of a message is told once, however often and by whatever door it comes."""
    return receipt_event(
        receipt_id=f"{message.id}:{outcome}",
        customer=message.customer,
        at=now,
        outcome=outcome,
        channel=message.channel,
        message={
            "message_id": message.id,
            "run_id": message.run_id,
            "journey": message.journey,
            "step": message.step,
        },
        details=details,
    )
