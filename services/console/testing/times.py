"""Instants as people compare them: from the test's start, and as tests write them, locally."""

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from shared.workspace import duration_text


@dataclass(frozen=True, slots=True)
class Local:
    """The local clock of a test's customer."""

    start: datetime
    zone: ZoneInfo

    def time(self, at: datetime) -> str:
        """As `at:` takes it: `2026-03-02T20:00+09:00`, with seconds only where there are any."""
        local = at.astimezone(self.zone)
        seconds = local.second or local.microsecond
        return local.replace(microsecond=0).isoformat(timespec="seconds" if seconds else "minutes")

    def offset(self, at: datetime) -> str:
        """`+1h30m` after the start."""
        return f"+{duration_text(at - self.start)}"

    def both(self, at: datetime) -> str:
        return f"{self.offset(at)}, {self.time(at)}"
