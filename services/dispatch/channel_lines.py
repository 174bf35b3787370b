"""The channels' adapters as the workspace sets them up, and their pauses.

A channel whose connection is broken (or whose adapter cannot be made) is paused: its messages wait,
nothing fails. After the pause a few calls try again; while they find it broken, pauses grow.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from services.dispatch import metrics
from services.dispatch.channels import registry
from services.dispatch.channels.port import Adapter, Factory, Outcome, Outgoing, Result, Setup
from services.dispatch.workspace import Workspace
from shared.clock import Clock
from shared.errors import ConfigurationError
from shared.workspace import ChannelSettings

logger = structlog.get_logger()

_FIRST_PAUSE = timedelta(seconds=1)
_LONGEST_PAUSE = timedelta(minutes=1)
_MARGIN = 2.0
"""Real seconds an adapter may come late before its call is given up as unknown."""


@dataclass(slots=True)
class _Line:
    settings: ChannelSettings
    adapter: Adapter
    calls: int = 0


@dataclass(slots=True)
class _Pause:
    until: datetime
    times: int = 1


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
        self._lines: dict[str, _Line] = {}
        self._retired: list[_Line] = []
        self._pauses: dict[str, _Pause] = {}

    def follow(self, workspace: Workspace) -> None:
        """Take over a workspace's settings: what they change begins anew, without a pause."""
        settings = workspace.settings.channels
        if settings is self._settings:
            return
        for channel in self._settings.keys() | settings.keys():
            if self._settings.get(channel) != settings.get(channel):
                self._resume(channel)
                if channel in self._lines:
                    self._retired.append(self._lines.pop(channel))
        self._settings = settings

    def paused_until(self, channel: str) -> datetime | None:
        """The end of the channel's pause, or None: it may be used."""
        pause = self._pauses.get(channel)
        if pause is not None and pause.until > self._clock.now():
            return pause.until
        try:
            self._line(channel)
        except ConfigurationError as error:
            return self._pause(channel, str(error))
        return None

    def retries_unknown(self, channel: str) -> bool:
        """Whether a message that may have been sent is sent again on this channel."""
        settings = self._settings.get(channel)
        if settings is None:
            return False
        if settings.on_unknown is not None:
            return settings.on_unknown == "retry"
        try:
            return self._line(channel).adapter.deduplicates
        except ConfigurationError:
            return False

    async def send(self, message: Outgoing) -> Result:
        """One call; never raises but for cancellation."""
        try:
            line = self._line(message.channel)
        except ConfigurationError as error:
            return Result(Outcome.BROKEN_CONNECTION, detail=str(error))
        started = asyncio.get_running_loop().time()
        line.calls += 1
        try:
            async with asyncio.timeout(self._timeout + _MARGIN):
                result = await line.adapter.send(message)
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
            self._pause(message.channel, result.detail)
        else:
            self._resume(message.channel)
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

    def _line(self, channel: str) -> _Line:
        """Raises ConfigurationError."""
        line = self._lines.get(channel)
        if line is None:
            settings = self._settings.get(channel)
            if settings is None:
                raise ConfigurationError(f"dangol.yaml sets up no channel {channel}")
            setup = Setup(channel, settings, self._environment, self._concurrency, self._timeout)
            line = self._lines[channel] = _Line(settings, self._create(setup))
        return line

    def _pause(self, channel: str, why: str) -> datetime:
        """All calls that find it broken during one pause count as one."""
        now = self._clock.now()
        pause = self._pauses.get(channel)
        if pause is not None and pause.until > now:
            return pause.until
        times = pause.times + 1 if pause is not None else 1
        length = min(_FIRST_PAUSE * (1 << min(times - 1, 10)), _LONGEST_PAUSE)
        self._pauses[channel] = _Pause(now + length, times)
        metrics.PAUSED.labels(channel).set(1)
        logger.warning(
            "a channel's connection is broken; its messages wait",
            action="channel_paused",
            channel=channel,
            seconds=length.total_seconds(),
            times=times,
            why=why,
        )
        return now + length

    def _resume(self, channel: str) -> None:
        if self._pauses.pop(channel, None) is not None:
            metrics.PAUSED.labels(channel).set(0)
            logger.info("a channel works again", action="channel_resumed", channel=channel)
