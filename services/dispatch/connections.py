"""A connection: one adapter of a channel, with its settings, its limits and its calls under way.

A message waits in the line of what it finds no place under (`messages.waits_for`). Lines are named
after the channel: `email` for its rate, `email:gmail.com` for a domain's, `sms:rate/twilio` for a
rate of one of its adapters, `sms:concurrency/twilio` for the calls of one at a time.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from pydantic import ValidationError

from services.dispatch import metrics
from services.dispatch.pending import Attempt
from shared.errors import ConfigurationError
from shared.workspace import ChannelSettings

_OF_THE_CHANNEL = {"rate", "domain_rates"}
"""What all adapters of a channel share."""


def settings_for(settings: ChannelSettings, adapter: str) -> ChannelSettings:
    """A channel's settings as one of its adapters sees them: a group under the adapter's name
    (`twilio: {from: "+1…"}`) replaces what the channel says. Raises ConfigurationError."""
    if adapter == settings.adapter and adapter not in settings.options:
        return settings
    own = settings.options.get(adapter, {})
    if not isinstance(own, Mapping):
        raise ConfigurationError(
            f"`{adapter}` of a channel is a group of its settings", hint=f"{adapter}: {{from: …}}"
        )
    said = settings.model_dump(by_alias=True, exclude=_OF_THE_CHANNEL)
    try:
        return ChannelSettings.model_validate({**said, **own, "adapter": adapter})
    except ValidationError as error:
        wrong = ", ".join(sorted({str(each["loc"][0]) for each in error.errors() if each["loc"]}))
        raise ConfigurationError(
            f"the group `{adapter}` of a channel cannot be read: {wrong}",
            hint="`dangol validate` says what is wrong with it",
        ) from None


def adapters_of(settings: ChannelSettings) -> tuple[str, ...]:
    """In the order in which they are tried."""
    return tuple(dict.fromkeys((settings.adapter, *settings.failover)))


def domain_line(channel: str, address: str) -> str:
    """The line of an e-mail address's domain; nobody waits in one that has no rate."""
    return f"{channel}:{address.rpartition('@')[2].lower()}"


def rate_line(channel: str, adapter: str) -> str:
    return f"{channel}:rate/{adapter}"


def concurrency_line(channel: str, adapter: str) -> str:
    return f"{channel}:concurrency/{adapter}"


def adapter_of(line: str) -> str | None:
    """The adapter whose line it is; None for a channel's and a domain's."""
    _channel, _, own = line.partition(":")
    kind, slash, adapter = own.partition("/")
    return adapter if slash and kind in ("rate", "concurrency") else None


def rates_of(channels: Mapping[str, ChannelSettings]) -> dict[str, float]:
    """Line → calls a second."""
    rates: dict[str, float] = {}
    for channel, settings in channels.items():
        if settings.rate is not None:
            rates[channel] = settings.rate
        for domain, rate in settings.domain_rates.items():
            rates[f"{channel}:{domain}"] = rate
    for channel, adapter, own in _connections(channels):
        if own is not channels[channel] and own.rate is not None:
            rates[rate_line(channel, adapter)] = own.rate
    return rates


def limits_of(channels: Mapping[str, ChannelSettings]) -> dict[str, int]:
    """Line → calls at a time."""
    return {
        concurrency_line(channel, adapter): own.concurrency
        for channel, adapter, own in _connections(channels)
        if own.concurrency is not None
    }


def _connections(
    channels: Mapping[str, ChannelSettings],
) -> Iterator[tuple[str, str, ChannelSettings]]:
    for channel, settings in channels.items():
        for adapter in adapters_of(settings):
            try:
                yield channel, adapter, settings_for(settings, adapter)
            except ConfigurationError:
                continue  # its connection is paused until that is mended


class UnderWay:
    """This process's calls by connection: from before the transaction that records an attempt has
    ended, until its call has."""

    def __init__(self) -> None:
        self._calls: Counter[tuple[str, str]] = Counter()

    def add(self, attempts: Iterable[Attempt]) -> None:
        for attempt in attempts:
            self._move((attempt.outgoing.channel, attempt.adapter), 1)

    def remove(self, attempt: Attempt) -> None:
        self._move((attempt.outgoing.channel, attempt.adapter), -1)

    def of_line(self, line: str) -> int:
        """How many stand under this line of a connection's concurrency."""
        return self._calls[line.partition(":")[0], adapter_of(line) or ""]

    def _move(self, connection: tuple[str, str], by: int) -> None:
        self._calls[connection] += by
        metrics.CONNECTION_CALLS.labels(*connection).set(self._calls[connection])
