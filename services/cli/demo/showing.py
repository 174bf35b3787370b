"""One showing of the demo, from the curtain to the exit status."""

import asyncio
import contextlib
import secrets
import socket
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx
from pydantic import SecretStr

from services.cli import up
from services.cli.demo import stage, words
from services.cli.demo.day import BOUNCES, ENDS, OPENS, Script
from services.cli.demo.ending import show_outcome, show_ways_on
from services.cli.demo.inbox import Inbox, open_inbox
from services.cli.demo.play import Play, outcome_of
from services.cli.demo.screen import Screen
from services.cli.demo.watch import Watch
from services.cli.local import DEFAULT_HOST, DEFAULT_PORT
from services.console.folder import read_folder
from services.console.keys import create_key
from services.dispatch.channels.mail import sender_of
from services.journey.language.workspace import load_workspace
from shared.clock import wall_clock
from shared.db.migrate import migrate
from shared.logs import configure
from shared.settings import Settings
from shared.workspace import WorkspaceSettings

STOPPED = 130
_STAYS_OPEN = 120.0
"""Real seconds, on a terminal, in which one can look around afterwards."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What whoever watches may choose."""

    speed: float
    keep: Path | None
    port: int | None


def show(wishes: Wishes, screen: Screen) -> int:
    """The exit status: 0, 1 if the outcome is wrong, 130 if it was stopped."""
    shop = stage.example_shop()
    workspace = load_workspace(read_folder(shop)).settings
    screen.zone = workspace.zone()
    status = STOPPED

    async def main(stopping: asyncio.Event) -> None:
        nonlocal status
        status = await showing.until_stopped(stopping)

    with stage.place_at(wishes.keep) as place, stage.database(place.data) as dsn:
        showing = _Showing(wishes, screen, shop, workspace, place, dsn)
        up.run_until_signalled(main)
    return status


@dataclass(frozen=True, slots=True)
class _Showing:
    wishes: Wishes
    screen: Screen
    shop: Path
    workspace: WorkspaceSettings
    place: stage.Place
    dsn: str

    async def until_stopped(self, stopping: asyncio.Event) -> int:
        showing = asyncio.create_task(self._show(), name="demo-showing")
        stop = asyncio.create_task(stopping.wait(), name="demo-stop")
        await asyncio.wait({showing, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not showing.done():
            showing.cancel()
        try:
            return await showing
        except asyncio.CancelledError:
            self.screen.note(self.screen.say(words.STOPPED))
            return STOPPED

    async def _show(self) -> int:
        settings = Settings(
            database_url=SecretStr(self.dsn),
            log_url=None,
            admin_token=SecretStr(f"demo-{secrets.token_hex(4)}"),
            log_level="error",
        )
        configure(settings.log_level)
        speed = self.wishes.speed
        midnight = stage.next_midnight(self.workspace.zone(), wall_clock())
        await migrate(self.dsn, settings.partitions)
        await stage.set_time(self.dsn, midnight + OPENS - stage.HEAD_START * speed)
        async with open_inbox(self.place.mails, refused=frozenset({BOUNCES})) as inbox:
            options = up.Options(self.shop, self.place.data, DEFAULT_HOST, self._port(), speed)
            async with stage.running(options, settings, inbox.port) as dangol:
                await stage.in_force(dangol.pool, dangol.clock)
                return await self._play(dangol, inbox, midnight)

    async def _play(self, dangol: up.Running, inbox: Inbox, midnight: datetime) -> int:
        async with dangol.pool.acquire() as connection:
            _, write_key = await create_key(connection, "demo", "write", dangol.clock.now())
        client = httpx.AsyncClient(base_url=dangol.url, auth=(write_key, ""), timeout=15)
        script = Script(self.screen.language)
        self._introduce(dangol, inbox)
        async with client:
            play = Play(
                clock=dangol.clock,
                client=client,
                watch=Watch(dangol.pool),
                inbox=inbox,
                sender=sender_of(self.workspace.channels["email"].sender),
                screen=self.screen,
                midnight=midnight,
            )
            with self.screen.clock():
                await play.run(script.introductions(), script.acts())
            outcome = await outcome_of(play, dangol.admin_token)
        show_outcome(self.screen, outcome)
        kept = self.place.data if self.place.kept else None
        show_ways_on(self.screen, self.shop, self.place.mails, kept)
        await self._stay_open(dangol)
        return 0 if outcome.well else 1

    def _introduce(self, dangol: up.Running, inbox: Inbox) -> None:
        screen, speed = self.screen, self.wishes.speed
        seconds = round((ENDS - OPENS).total_seconds() / speed)
        screen.facts(
            [
                (screen.say(words.CONSOLE), self._console(dangol)),
                (screen.say(words.INBOX), f"smtp://127.0.0.1:{inbox.port}"),
                (screen.say(words.PACE), screen.say(words.PACE_IS, f"{speed / 60:g}", seconds)),
            ]
        )

    async def _stay_open(self, dangol: up.Running) -> None:
        """On a terminal somebody may want to look at the console, which ends with us."""
        if not self.screen.is_terminal:
            return
        self.screen.heading(words.STAYS_OPEN)
        self.screen.facts([(self.screen.say(words.CONSOLE), self._console(dangol))])
        self.screen.note(self.screen.say(words.TO_CLOSE))
        enter = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(sys.stdin.fileno(), enter.set)
        try:
            with contextlib.suppress(asyncio.CancelledError, TimeoutError):
                await asyncio.wait_for(enter.wait(), _STAYS_OPEN)
        finally:
            loop.remove_reader(sys.stdin.fileno())

    def _console(self, dangol: up.Running) -> str:
        return f"{dangol.url}/?lang={self.screen.language}#token={dangol.admin_token}"

    def _port(self) -> int:
        """The one that was asked for; else the usual one, or a free one if that is taken."""
        if self.wishes.port is not None:
            return self.wishes.port
        with socket.socket() as probe:
            try:
                probe.bind((DEFAULT_HOST, DEFAULT_PORT))
            except OSError:
                return 0
        return DEFAULT_PORT
