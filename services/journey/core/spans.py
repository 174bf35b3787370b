"""Stretches of log time for which something was so: a pause, an archiving."""

from datetime import datetime, timedelta
from typing import NamedTuple

from shared.ids import fraction

RESUME_SPREAD = timedelta(minutes=5)
"""A resume fires what is due over this long, each customer at a moment of its own."""


class Span(NamedTuple):
    """`[start, end)`; None: it still lasts."""

    start: datetime
    end: datetime | None = None

    def holds(self, at: datetime) -> bool:
        return self.start <= at and (self.end is None or at < self.end)


Spans = tuple[Span, ...]


def within(spans: Spans, at: datetime) -> bool:
    return any(span.holds(at) for span in spans) if spans else False


def resumed(spans: Spans, due: datetime, customer: str) -> datetime | None:
    """When something due at `due` fires; None while the pause that it falls into lasts.

    `spans` are ordered. What is due in a pause fires behind its end, and again behind the next
    pause if that has begun by then.
    """
    for span in spans:
        if span.holds(due):
            if span.end is None:
                return None
            due = span.end + RESUME_SPREAD * fraction("resume", customer)
    return due
