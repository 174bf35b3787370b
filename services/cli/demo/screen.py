"""How the demo looks: one line for each thing that happens, with the shop's time in front."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from rich.cells import cell_len
from rich.console import Console
from rich.rule import Rule
from rich.status import Status
from rich.text import Text

from services.cli.demo import words
from services.cli.demo.words import Language, Words

if TYPE_CHECKING:  # the title stands on the screen before the services are even imported
    from services.cli.demo.inbox import Mail
    from services.cli.demo.watch import Message

NARROWEST, WIDEST = 60, 100
WHO, KIND = 13, 8
_COLOURS = {
    "email": "cyan",
    "sms": "green",
    "push": "magenta",
    "held": "yellow",
    "dropped": "bright_black",
    "failed": "red",
    "unknown": "red",
    "ended": "bright_black",
}


class Screen:
    """Prints; everything it is told has happened. `zone` is the shop's."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self.zone = ZoneInfo("UTC")
        stream = sys.stdout
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that knows no Korean shows `?`
        self._console = Console(highlight=False, emoji=False, markup=False, soft_wrap=False)
        if not self._console.is_terminal:
            self._console.width = 80
        self._width = max(NARROWEST, min(WIDEST, self._console.width))
        self._status: Status | None = None

    @property
    def is_terminal(self) -> bool:
        return self._console.is_terminal and sys.stdin.isatty()

    def say(self, of: Words, *values: object) -> str:
        return of.of(self.language).format(*values)

    @contextmanager
    def clock(self) -> Iterator[None]:
        """On a terminal, a line at the bottom that shows the shop's time."""
        if not self._console.is_terminal:
            yield
            return
        with self._console.status("", spinner="dots") as self._status:
            yield
        self._status = None

    def tick(self, text: str) -> None:
        if self._status is not None:
            self._status.update(Text(f" {text}", style="bright_black"))

    def title(self) -> None:
        self._console.print()
        self._console.print(Text(f" {self.say(words.TITLE)}", style="bold"))
        self.note(self.say(words.MADE_UP))
        self._console.print()
        self.note(self.say(words.STARTING))

    def facts(self, rows: Sequence[tuple[str, str]]) -> None:
        names = max(cell_len(name) for name, _ in rows) + 3
        for name, value in rows:
            head = f" {_fit(name, names - 1)}"
            for part in Text(value).wrap(self._console, self._width - names):
                line = Text(head, style="bright_black").append(part.plain, style="default")
                line.rstrip()
                self._console.print(line, no_wrap=True, crop=False)
                head = " " * names

    def chapter(self, at: datetime, text: str) -> None:
        self._console.print()
        title = Text(f"{self.time(at)}  {text}", style="bold")
        self._console.print(Rule(title, align="left", style="bright_black"), width=self._width)

    def act(self, at: datetime, customer: str, told: str) -> None:
        self._line(at, customer, "", told)

    def mail(self, message: "Message", mail: "Mail") -> None:
        arrived = self.say(words.IN_INBOX, mail.number)
        self._message(message, mail.subject, arrived)

    def text(self, message: "Message") -> None:
        self._message(message, message.text)

    def not_arrived(self, message: "Message") -> None:
        assert message.decided_at is not None
        told = self.say(words.NOT_ARRIVED)
        self._line(message.decided_at, message.customer, "failed", told)

    def held(self, at: datetime, message: "Message") -> None:
        night = message.held_reason == "quiet_hours"
        why = self.say(words.NIGHT) if night else str(message.held_reason)
        until = self.time(message.not_before)
        told = self.say(words.HELD_UNTIL, *self._what(message), until, why)
        self._line(at, message.customer, "held", told)

    def not_sent(self, message: "Message") -> None:
        assert message.decided_at is not None
        assert message.decision is not None
        why = words.REASONS.get(message.reason or "")
        told = self.say(
            words.NO_MESSAGE, *self._what(message), self.say(why) if why else message.reason
        )
        self._line(message.decided_at, message.customer, message.decision, told)

    def ended(self, at: datetime, customer: str, journey: str, event: str) -> None:
        self._line(at, customer, "ended", self.say(words.ENDED, self.journey(journey), event))

    def heading(self, of: Words, *values: object) -> None:
        self._console.print()
        self._console.print(Text(f" {self.say(of, *values)}", style="bold"))

    def verdict(self, *, well: bool, lines: Sequence[str]) -> None:
        self._console.print()
        for line in lines:
            self._console.print(Text(f" {line}", style="bold green" if well else "bold red"))

    def note(self, text: str) -> None:
        self._console.print(Text(f" {text}", style="bright_black"))

    def journey(self, name: str) -> str:
        known = words.JOURNEYS.get(name)
        return self.say(known) if known else name

    def channel(self, name: str) -> str:
        known = words.CHANNELS.get(name)
        return self.say(known) if known else name

    def time(self, at: datetime) -> str:
        return f"{at.astimezone(self.zone):%H:%M}"

    def _what(self, message: "Message") -> tuple[str, str]:
        return self.journey(message.journey), self.channel(message.channel)

    def _message(self, message: "Message", text: str, right: str = "") -> None:
        assert message.decided_at is not None
        self._line(message.decided_at, message.customer, message.channel, text, right)
        for passed in message.passed_over:
            reason = passed["reason"]
            if reason not in ("no_consent", "no_address") and "adapter" not in passed:
                why = self.say(words.REASONS[reason]) if reason in words.REASONS else reason
                told = self.say(words.INSTEAD, self.channel(passed["channel"]), why)
                self._line(None, "", "", told, style="bright_black")

    def _line(
        self,
        at: datetime | None,
        customer: str,
        kind: str,
        text: str,
        right: str = "",
        style: str = "",
    ) -> None:
        known = words.KINDS.get(kind) or words.CHANNELS.get(kind)
        colour = _COLOURS.get(kind, "")
        line = Text(" ")
        line.append(self.time(at) if at else " " * 5, style="bright_black")
        line.append("  ")
        line.append(_fit(customer, WHO), style="bold" if kind == "" else "")
        line.append(_fit(self.say(known) if known else "", KIND), style=colour)
        room = self._width - line.cell_len - (cell_len(right) + 2 if right else 0)
        quiet = "bright_black" if kind in ("dropped", "ended") else style
        line.append(_fit(text, room), style=quiet)
        if right:
            line.append(f"  {right}", style="bright_black")
        line.rstrip()
        self._console.print(line, no_wrap=True, crop=False)


def _fit(text: str, cells: int) -> str:
    """Exactly so many cells: Korean letters take two."""
    fitted = Text(text)
    fitted.truncate(cells, overflow="ellipsis", pad=True)
    return fitted.plain
