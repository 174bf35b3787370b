"""The day is played: acts are posted at their time, and what becomes of them is told."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import assert_never

import httpx

from services.cli.demo import words
from services.cli.demo.day import ENDS, NIGHT_FROM, NIGHT_TO, OPENS, Act
from services.cli.demo.inbox import Inbox
from services.cli.demo.screen import Screen
from services.cli.demo.watch import Decided, Ended, Held, Message, News, Watch
from services.dispatch.channels.mail import Sender, message_id
from shared.clock import Clock

_GLANCE = 0.08
"""Real seconds between two looks at the database."""
_PATIENCE = 10.0
"""Real seconds that the last messages have to be decided."""
_TAKEN_IN = "SELECT count(*) FROM history WHERE event->>'source' IS DISTINCT FROM 'journey'"
"""The shop's events: what Dangol tells itself by events (a changed consent) is not among them."""


@dataclass(slots=True)
class Play:
    """One showing of the day. `midnight` is the beginning of the shop's first day."""

    clock: Clock
    client: httpx.AsyncClient
    watch: Watch
    inbox: Inbox
    sender: Sender
    screen: Screen
    midnight: datetime
    late: timedelta = timedelta(0)
    """How much later than planned the shop has opened, and everybody comes."""
    posted: list[str] = field(default_factory=list)
    """Message ids as posted; one that was posted twice stands here twice."""
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    """Set at a glance that finds nothing open of this day."""

    @property
    def ends_at(self) -> datetime:
        return self.midnight + ENDS + self.late

    async def run(self, introductions: Act, acts: Sequence[Act]) -> None:
        """Raises httpx.HTTPError, Unavailable."""
        await self._reach(OPENS)
        self.late = max(timedelta(0), self.clock.now() - self.midnight - OPENS)
        self._chapter(OPENS + self.late, words.OPENING)
        await self._post(introductions)
        async with asyncio.TaskGroup() as tasks:
            telling = tasks.create_task(self._tell_on(), name="demo-telling")
            await self._act_out(acts)
            await self._reach(ENDS + self.late)
            await self._drain()
            telling.cancel()
        self._tell(await self.watch.news(self.clock.now()))

    async def _act_out(self, acts: Sequence[Act]) -> None:
        chapters = [(NIGHT_FROM, words.EVENING), (NIGHT_TO, words.MORNING)]
        for act in acts:
            while chapters and chapters[0][0] <= act.at + self.late:
                await self._begin(*chapters.pop(0))
            await self._reach(act.at + self.late)
            await self._post(act)
        for chapter in chapters:
            await self._begin(*chapter)

    async def _begin(self, at: timedelta, of: words.Words) -> None:
        await self._reach(at)
        self._chapter(at, of)

    def _chapter(self, at: timedelta, of: words.Words) -> None:
        self.screen.chapter(self.midnight + at, self.screen.say(of))

    async def _reach(self, at: timedelta) -> None:
        left = self.midnight + at - self.clock.now()
        await asyncio.sleep(max(0.0, self.clock.real_delay(left)))

    async def _post(self, act: Act) -> None:
        """As an SDK does: tried again, with the same ids, until it is answered 200."""
        self.screen.act(self.clock.now(), act.customer, act.told)
        for pause in (0.2, 0.5, 1.0, 2.0, None):
            answer = await self.client.post(act.path, json=act.body)
            if answer.status_code < 500 or pause is None:
                answer.raise_for_status()
                break
            await asyncio.sleep(pause)
        self.posted += act.message_ids

    async def _tell_on(self) -> None:
        while True:
            self._tell(await self.watch.news(self.clock.now()))
            self.screen.tick(self._now_line())
            if not self.watch.open_before(self.ends_at):
                self.settled.set()
            await asyncio.sleep(_GLANCE)

    def _now_line(self) -> str:
        waiting = sum(
            message.decision is None and message.held_reason is not None
            for message in self.watch.messages.values()
        )
        time = self.screen.time(self.clock.now())
        return self.screen.say(words.NOW, time, self.inbox.received, waiting)

    def _tell(self, news: Sequence[News]) -> None:
        for item in news:
            match item:
                case Held(at, message):
                    self.screen.held(at, message)
                case Ended(at, customer, journey, event):
                    self.screen.ended(at, customer, journey, event)
                case Decided(_, message):
                    self._decided(message)
                case _:
                    assert_never(item)

    def _decided(self, message: Message) -> None:
        if message.decision != "sent":
            self.screen.not_sent(message)
            return
        if message.channel != "email":
            self.screen.text(message)
            return
        mail = self.inbox.mails.get(self.name_of(message.id))
        if mail is not None:
            self.screen.mail(message, mail)
        else:
            self.screen.not_arrived(message)

    async def _drain(self) -> None:
        """Wait until everything that was due on this day is decided, within a limit."""
        self.settled.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.settled.wait(), _PATIENCE)

    def name_of(self, message: str) -> str:
        """The Message-ID of the e-mail that a message becomes."""
        return message_id(message, self.sender)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of the day, counted from what the API says, the inbox and the history.

    The clock has gone on: what was made after the day's end is not counted.
    """

    sent: Counter[str]
    """By channel."""
    dropped: Counter[str]
    """By reason."""
    failed: Counter[str]
    held: Counter[str]
    """What became of the messages that had been held overnight, by decision."""
    undecided: int
    missing: frozenset[str]
    """Message-IDs that were decided as sent and did not arrive."""
    unasked: frozenset[str]
    """Message-IDs that arrived without such a decision."""
    received: int
    duplicates: int
    posted: int
    repeated: int
    taken_in: int

    @property
    def well(self) -> bool:
        return not (
            self.undecided
            or self.missing
            or self.unasked
            or self.duplicates
            or self.failed["unknown"]
            or self.taken_in != self.posted - self.repeated
        ) and bool(self.sent["email"])


async def outcome_of(play: Play, admin_token: str) -> Outcome:
    """Raises httpx.HTTPError."""
    answer = await play.client.get(
        "/api/messages",
        params={"limit": 500},
        headers={"Authorization": f"Bearer {admin_token}"},
        auth=None,
    )
    answer.raise_for_status()
    made = answer.json()
    rows = [row for row in made if datetime.fromisoformat(row["created_at"]) <= play.ends_at]
    mails = {
        play.name_of(row["id"])
        for row in rows
        if row["decision"] == "sent" and row["channel"] == "email"
    }
    later = {play.name_of(row["id"]) for row in made if row not in rows}
    arrived = {name: n for name, n in play.inbox.copies.items() if name not in later}
    taken_in: int = await play.watch.pool.fetchval(_TAKEN_IN)
    return Outcome(
        sent=Counter(row["channel"] for row in rows if row["decision"] == "sent"),
        dropped=Counter(row["reason"] for row in rows if row["decision"] == "dropped"),
        failed=Counter(
            row["reason"] or row["decision"]
            for row in rows
            if row["decision"] in ("failed", "unknown")
        ),
        held=Counter(row["decision"] for row in rows if row["id"] in play.watch.held),
        undecided=sum(row["decision"] is None for row in rows),
        missing=frozenset(mails - arrived.keys()),
        unasked=frozenset(arrived.keys() - mails),
        received=sum(arrived.values()),
        duplicates=sum(arrived.values()) - len(arrived),
        posted=len(play.posted),
        repeated=len(play.posted) - len(set(play.posted)),
        taken_in=taken_in,
    )
