"""The channels' adapters as the workspace sets them up, and their pauses.

An adapter whose connection is broken (or that cannot be made) is paused. Its messages go to the
next one of the channel's `failover`; where there is none, they wait, and nothing fails. After the
pause a few calls try again; while they find it broken, pauses grow.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

import structlog

from services.dispatch import metrics
from services.dispatch.channels import registry
from services.dispatch.channels.port import (
    Adapter,
    Factory,
    Outcome,
    Outgoing,
    Preparing,
    Result,
    Setup,
)
from services.dispatch.connections import adapters_of, settings_for
from services.dispatch.workspace import Workspace
from shared.clock import Clock
from shared.errors import ConfigurationError
from shared.workspace import ChannelSettings

logger = structlog.get_logger()

_FIRST_PAUSE = timedelta(seconds=1)
_LONGEST_PAUSE = timedelta(minutes=1)
_MARGIN = 2.0
"""Real seconds an adapter may come late before its call is given up as unknown."""


Remember = Callable[[str], Awaitable[bool]]
"""Records a token durably; False: it is not, and nothing may be sent."""


class _Name(NamedTuple):
    channel: str
    adapter: str


@dataclass(slots=True)
class _Line:
    settings: ChannelSettings
    adapter: Adapter
    preparing: Preparing | None
    """The adapter, if it sends in two steps: asked once, since asking a protocol is slow."""
    calls: int = 0


@dataclass(slots=True)
class _Pause:
    since: datetime
    until: datetime
    why: str
    times: int = 1


class Paused(NamedTuple):
    """An adapter that is paused, or that is being tried again after a pause."""

    channel: str
    adapter: str
    since: datetime
    until: datetime
    times: int
    """Tries in a row that found it broken."""
    why: str


class ChannelLines:
    def __init__(
        self,
        clock: Clock,
        environment: Mapping[str, str],
        *,
        concurrency: int,
        timeout: float,
        create: Factory = registry.create,
    ) -> None:
        self._clock = clock
        self._environment = environment
        self._concurrency = concurrency
        self._timeout = timeout
        self._create = create
        self._settings: Mapping[str, ChannelSettings] = {}
        self._lines: dict[_Name, _Line] = {}
        self._retired: list[_Line] = []
        self._pauses: dict[_Name, _Pause] = {}

    def follow(self, workspace: Workspace) -> None:
        """Take over a workspace's settings: what they change begins anew, without a pause."""
        settings = workspace.settings.channels
        if settings is self._settings:
            return
        for channel in self._settings.keys() | settings.keys():
            if self._settings.get(channel) != settings.get(channel):
                for name in [n for n in self._pauses if n.channel == channel]:
                    self._resume(name)
                for name in [n for n in self._lines if n.channel == channel]:
                    self._retired.append(self._lines.pop(name))
        self._settings = settings
        for channel in settings:
            for adapter in self._adapters(channel):
                metrics.UNKNOWN.labels(adapter)  # a counter rises only from a nought that was told
                metrics.CONNECTION_CALLS.labels(channel, adapter)

    def choose(
        self, channel: str, failed: frozenset[str] = frozenset(), bound: str | None = None
    ) -> str | datetime:
        """The adapter to send by, or when the pause of the first that might do ends.

        `failed`: those that have failed the message. `bound`: the one that may have sent it.
        """
        pauses: list[datetime] = []
        for adapter in self._candidates(channel, failed, bound):
            until = self._paused_until(_Name(channel, adapter))
            if until is None:
                return adapter
            pauses.append(until)
        return min(pauses)

    def using(self, channel: str, adapter: str | None) -> str | None:
        """The adapter by which the channel's messages would go now: this one where it can."""
        if adapter is not None and adapter in self._adapters(channel):
            chosen = self.choose(channel, bound=adapter)
            if isinstance(chosen, str):
                return chosen
        chosen = self.choose(channel)
        return chosen if isinstance(chosen, str) else None

    def paused(self) -> list[Paused]:
        return [
            Paused(name.channel, name.adapter, p.since, p.until, p.times, p.why)
            for name, p in self._pauses.items()
        ]

    def others(self, channel: str, failed: frozenset[str]) -> tuple[str, ...]:
        """The channel's adapters but for these, in order."""
        return tuple(a for a in self._adapters(channel) if a not in failed)

    def _adapters(self, channel: str) -> tuple[str, ...]:
        settings = self._settings.get(channel)
        if settings is None:
            return ()
        return adapters_of(settings)

    def _candidates(
        self, channel: str, failed: frozenset[str], bound: str | None
    ) -> tuple[str, ...]:
        if bound is not None and bound in self._adapters(channel):
            return (bound,)
        return self.others(channel, failed) or self._adapters(channel)[:1] or ("",)

    def _paused_until(self, name: _Name) -> datetime | None:
        pause = self._pauses.get(name)
        if pause is not None and pause.until > self._clock.now():
            return pause.until
        try:
            self._line(name)
        except ConfigurationError as error:
            return self._pause(name, str(error))
        return None

    def retries_unknown(self, channel: str, adapter: str) -> bool:
        """Whether a message that this adapter may have sent is sent again by it."""
        settings = self._settings.get(channel)
        if settings is None:
            return False
        if settings.on_unknown is not None:
            return settings.on_unknown == "retry"
        try:
            return self._line(_Name(channel, adapter)).adapter.deduplicates
        except ConfigurationError:
            return False

    def knows(self, channel: str, adapter: str) -> bool:
        """Whether a repetition by this adapter finds out what became of the first attempt, so that
        its refusal is one of both. A key that merely stops a second one does not tell."""
        try:
            return self._line(_Name(channel, adapter)).preparing is not None
        except ConfigurationError:
            return False

    def asks_until(self, channel: str, adapter: str, unknown_at: datetime) -> datetime | None:
        """Until when this adapter's provider knows a repetition of an attempt of `unknown_at`;
        None: always, or the operator prefers two messages to none."""
        settings = self._settings.get(channel)
        if settings is None or settings.on_unknown is not None:
            return None
        try:
            known = getattr(self._line(_Name(channel, adapter)).adapter, "deduplicates_for", None)
        except ConfigurationError:
            return None
        return unknown_at + known if isinstance(known, timedelta) else None

    async def send(self, message: Outgoing, adapter: str, remember: Remember) -> Result:
        """One call; never raises but for cancellation. `remember` records what is prepared."""
        name = _Name(message.channel, adapter)
        try:
            line = self._line(name)
        except ConfigurationError as error:
            return Result(Outcome.BROKEN_CONNECTION, detail=str(error))
        started = asyncio.get_running_loop().time()
        line.calls += 1
        try:
            async with asyncio.timeout(self._timeout + _MARGIN):
                result = await _prepared_and_sent(line, message, remember)
        except Exception as error:  # noqa: BLE001 - the supervisor of adapters, also of others'
            logger.error(
                "an adapter failed; whether it has sent is unknown",
                action="adapter_failed",
                adapter=line.adapter.name,
                message=message.message_id,
                error=type(error).__name__,
            )
            result = Result(Outcome.UNKNOWN, detail=f"the adapter failed: {type(error).__name__}")
        finally:
            line.calls -= 1
        metrics.CALL_SECONDS.labels(line.adapter.name, result.outcome).observe(
            asyncio.get_running_loop().time() - started
        )
        if result.outcome is Outcome.BROKEN_CONNECTION:
            self._pause(name, result.detail)
        else:
            self._resume(name)
        return result

    async def close_retired(self) -> None:
        for line in [line for line in self._retired if not line.calls]:
            self._retired.remove(line)
            await line.adapter.close()

    async def close(self) -> None:
        """When no call is under way."""
        self._retired.extend(self._lines.values())
        self._lines.clear()
        for line in self._retired:
            await line.adapter.close()
        self._retired.clear()

    def _line(self, name: _Name) -> _Line:
        """Raises ConfigurationError."""
        line = self._lines.get(name)
        if line is None:
            settings = self._settings.get(name.channel)
            if settings is None:
                raise ConfigurationError(f"dangol.yaml sets up no channel {name.channel}")
            own = settings_for(settings, name.adapter)
            calls = min(self._concurrency, own.concurrency or self._concurrency)
            setup = Setup(name.channel, own, self._environment, calls, self._timeout)
            adapter = self._create(setup)
            preparing = adapter if isinstance(adapter, Preparing) else None
            line = self._lines[name] = _Line(settings, adapter, preparing)
        return line

    def _pause(self, name: _Name, why: str) -> datetime:
        """All calls that find it broken during one pause count as one."""
        now = self._clock.now()
        pause = self._pauses.get(name)
        if pause is not None and pause.until > now:
            return pause.until
        times = pause.times + 1 if pause is not None else 1
        length = min(_FIRST_PAUSE * (1 << min(times - 1, 10)), _LONGEST_PAUSE)
        since = pause.since if pause is not None else now
        self._pauses[name] = _Pause(since, now + length, why, times)
        metrics.PAUSED.labels(name.channel).set(1)
        logger.warning(
            "a channel's connection is broken; its messages wait",
            action="channel_paused",
            channel=name.channel,
            adapter=name.adapter,
            seconds=length.total_seconds(),
            times=times,
            why=why,
        )
        return now + length

    def _resume(self, name: _Name) -> None:
        if self._pauses.pop(name, None) is not None:
            channel = name.channel
            metrics.PAUSED.labels(channel).set(any(n.channel == channel for n in self._pauses))
            logger.info(
                "a channel works again",
                action="channel_resumed",
                channel=channel,
                adapter=name.adapter,
            )


async def _prepared_and_sent(line: _Line, message: Outgoing, remember: Remember) -> Result:
    if message.token is None and line.preparing is not None:
        token = await line.preparing.prepare(message)
        if isinstance(token, Result):
            return token
        if not await remember(token):
            why = "not sent: what was prepared could not be recorded"
            return Result(Outcome.RETRYABLE, detail=why)
        message = replace(message, token=token)
    return await line.adapter.send(message)
