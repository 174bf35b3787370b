"""`dangol.yaml`: what the whole workspace agrees on. The language checks it, dispatch obeys it.

Durations arrive as text ("24h"), rates as "50/s"; both are parsed here, once. Unknown fields are
refused. Secrets never stand in the file: they come from the environment.
"""

import math
import re
from datetime import time, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)

from shared.decisions import Category
from shared.local_time import known_zones

_DURATION = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_SHARE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?) ?%")
_UNITS = ("weeks", "days", "hours", "minutes", "seconds")
_LONGEST = timedelta(days=3660)


def parse_duration(text: object) -> timedelta:
    """A duration such as `1h30m`; raises ValueError that says what a duration looks like."""
    if isinstance(text, timedelta):
        return text
    if not isinstance(text, str):
        raise ValueError("a duration needs a unit, such as 30m, 1h30m or 7d")
    match = _DURATION.fullmatch(text.strip())
    if not text.strip() or match is None:
        raise ValueError(
            f"`{text}` is no duration: write numbers with w, d, h, m, s in that order, as in 1h30m"
        )
    if any(part is not None and len(part) > 9 for part in match.groups()):
        raise ValueError(f"`{text}` is longer than ten years")
    parts = {u: int(n) for u, n in zip(_UNITS, match.groups(), strict=True) if n is not None}
    try:
        duration = timedelta(**parts)
    except OverflowError:
        duration = timedelta.max
    if duration > _LONGEST:
        raise ValueError(f"`{text}` is longer than ten years")
    return duration


def _zone(name: object) -> str:
    if not isinstance(name, str) or name not in known_zones():
        raise ValueError(f"`{name}` is no time zone: use an IANA name such as Asia/Seoul")
    return name


def _country(text: object) -> str:
    if not isinstance(text, str) or not re.fullmatch(r"[A-Z]{2}", text):
        raise ValueError(f"`{text}` is no country: write its two letters, such as KR")
    return text


def _locale(text: object) -> str:
    if not isinstance(text, str) or not re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*", text):
        raise ValueError(f"`{text}` is no locale: write a language tag such as ko or ko-KR")
    return text


def _trait(text: object) -> str:
    if not isinstance(text, str) or not re.fullmatch(r"profile\.[A-Za-z][A-Za-z0-9_]{0,79}", text):
        raise ValueError(f"`{str(text)[:60]}` is no trait: write it as profile.coffee_bought_at")
    return text


def _clock(text: object) -> time:
    if isinstance(text, time):
        return text
    if isinstance(text, str) and re.fullmatch(r"([01]?\d|2[0-3]):[0-5]\d", text):
        hours, minutes = text.split(":")
        return time(int(hours), int(minutes))
    raise ValueError(f'`{text}` is no time of day: write it quoted, as in "20:50"')


def parse_share(text: object) -> float:
    """A share of customers such as `10%`, as a number from 0 to 1; raises ValueError."""
    match = _SHARE.fullmatch(text) if isinstance(text, str) else None
    if match is None or float(match[1]) > 100:
        raise ValueError(f"`{str(text)[:40]}` is no share of customers: write 10%")
    return float(match[1]) / 100


def parse_rate(text: object) -> float:
    """Times a second, of `50/s`, `600/m`, `1000/h`; raises ValueError with how to write it."""
    if isinstance(text, int | float) and not isinstance(text, bool) and 0 < text < math.inf:
        return float(text)
    match = (
        re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)/(s|m|h)", text) if isinstance(text, str) else None
    )
    if match is None or float(match[1]) <= 0:
        raise ValueError(f"`{text}` is no rate: write it as 50/s, 600/m or 1000/h")
    return float(match[1]) / {"s": 1, "m": 60, "h": 3600}[match[2]]


def _domain(text: object) -> str:
    if not isinstance(text, str) or not re.fullmatch(
        r"([A-Za-z0-9-]{1,63}\.)+[A-Za-z0-9-]{2,63}", text
    ):
        raise ValueError(f"`{str(text)[:60]}` is no domain: write it as gmail.com")
    return text.lower()


def duration_text(duration: timedelta) -> str:
    """The shortest way to write it: `1d`, `1h30m`, `0s`."""
    left = int(duration.total_seconds())
    parts = []
    for letter, seconds in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, seconds)
        if count:
            parts.append(f"{count}{letter}")
    return "".join(parts) or "0s"


DURATION_SCHEMA: dict[str, Any] = {
    "type": "string",
    "pattern": r"^(?=.)(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?$",
    "examples": ["30m", "1h30m", "7d"],
}
TIME_SCHEMA: dict[str, Any] = {
    "type": "string",
    "pattern": r"^([01]?\d|2[0-3]):[0-5]\d$",
    "examples": ["09:00", "20:50"],
}
SHARE_SCHEMA: dict[str, Any] = {
    "type": "string",
    "pattern": r"^\d{1,3}(\.\d{1,6})? ?%$",
    "examples": ["10%"],
}
RATE_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "number"},
        {"type": "string", "pattern": r"^\d+(\.\d+)?/[smh]$", "examples": ["50/s", "600/m"]},
    ]
}

Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(duration_text),
    WithJsonSchema(DURATION_SCHEMA),
]
Zone = Annotated[str, BeforeValidator(_zone)]
TimeOfDay = Annotated[
    time,
    BeforeValidator(_clock),
    PlainSerializer(lambda value: value.strftime("%H:%M")),
    WithJsonSchema(TIME_SCHEMA),
]
Share = Annotated[
    float,
    BeforeValidator(parse_share),
    PlainSerializer(lambda value: f"{value * 100:.9g}%"),
    WithJsonSchema(SHARE_SCHEMA),
]
Rate = Annotated[float, BeforeValidator(parse_rate), WithJsonSchema(RATE_SCHEMA)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class QuietHours(_Model):
    """One rule: hold or drop within `[from, to)` local time; or `never: true`, an exception."""

    category: Category | None = None
    channels: tuple[str, ...] = ()
    start: TimeOfDay | None = Field(default=None, alias="from")
    end: TimeOfDay | None = Field(default=None, alias="to")
    then: Literal["hold", "drop"] = "hold"
    never: bool = False

    @model_validator(mode="after")
    def _whole(self) -> "QuietHours":
        if not self.never and (self.start is None or self.end is None):
            raise ValueError("quiet hours need `from` and `to`, or `never: true`")
        if self.start is not None and self.start == self.end:
            raise ValueError("`from` and `to` are the same: that would be always or never")
        return self


class FrequencyCap(_Model):
    """At most `limit` messages `per` duration (rolling), over all journeys that the rule covers."""

    category: Category | None = None
    channels: tuple[str, ...] = ()
    limit: Annotated[int, Field(ge=1, le=10_000)]
    per: Duration
    then: Literal["drop", "hold"] = "drop"


class ExistingCustomers(_Model):
    """Journeys that advertise goods of a kind to those who have bought such, without a consent,
    where a pack's law knows that exemption."""

    journeys: Annotated[tuple[str, ...], Field(min_length=1)]
    goods: Annotated[str, Field(min_length=1, max_length=200)]
    """The kind, for people: bought and advertised goods are of the same."""
    bought_at: Annotated[str, BeforeValidator(_trait)]
    """The trait that says when the last paid transaction for such goods ended."""

    @property
    def trait(self) -> str:
        return self.bought_at.removeprefix("profile.")


class Sender(_Model):
    """Who advertises, as the law wants it named at the end of a mail."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    address: Annotated[str, Field(min_length=5, max_length=300)]
    """By which letters arrive."""


class Policies(_Model):
    packs: tuple[str, ...] = ()
    sender: Sender | None = None
    """Stated once; packs put it at the end of advertising mail that does not name the address."""
    consent: Literal["required", "assumed"] = "required"
    existing_customers: tuple[ExistingCustomers, ...] = ()
    met_elsewhere: tuple[str, ...] = ()
    """Duties of packs that another system meets, as `kr-marketing/consent-result`."""
    quiet_hours: tuple[QuietHours, ...] = ()
    frequency_caps: tuple[FrequencyCap, ...] = ()
    expire_after: Duration | None = None


class ChannelSettings(BaseModel):
    """`adapter`, `rate`, `concurrency` and `failover` mean the same everywhere; the rest is the
    adapter's."""

    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True)

    adapter: str
    rate: Rate | None = None
    """Calls of the provider a second at most, by all dispatchers together."""
    concurrency: Annotated[int, Field(ge=1, le=10_000, strict=True)] | None = None
    """Calls of each of its adapters under way at a time at most, by all dispatchers together."""
    domain_rates: Annotated[
        dict[Annotated[str, BeforeValidator(_domain)], Rate], Field(max_length=100)
    ] = {}
    """Of e-mail: the recipient's domain → a rate of its own, within the channel's."""
    sender: str | None = Field(default=None, alias="from")
    failover: tuple[str, ...] = ()
    on_unknown: Literal["give_up", "retry"] | None = None
    certificate: Annotated[str, Field(max_length=200)] | None = None
    """The provider's licence to send advertising texts in bulk, where a pack asks for it."""

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class ClientContext(_Model):
    """What a customer's device tells of itself, by its connection or in its events, that is kept.

    Of browser keys alone: what a server says of its customers is the server's own decision.
    """

    address: bool = False
    user_agent: bool = True
    locale: bool = True


class IngestSettings(_Model):
    client_context: ClientContext = ClientContext()


_HEADER = r"[A-Za-z0-9-]{1,64}"
_PATH = rf"header:{_HEADER}|[^.\s:]{{1,64}}(\.[^.\s:]{{1,64}}){{0,9}}"


def _path(text: object) -> str:
    if not isinstance(text, str) or not re.fullmatch(_PATH, text):
        raise ValueError(
            f"`{str(text)[:60]}` is no place in a webhook: write it as `data.customer.id`,"
            " or as `header:X-Topic`"
        )
    return text


def _header(text: object) -> str:
    if not isinstance(text, str) or not re.fullmatch(_HEADER, text):
        raise ValueError(f"`{str(text)[:60]}` is no header's name")
    return text


def _source(text: object) -> str:
    if not isinstance(text, str) or not re.fullmatch(r"[a-z][a-z0-9-]{0,39}", text):
        raise ValueError(
            f"`{str(text)[:60]}` cannot be a source's name: write small letters, digits and dashes"
        )
    return text


WebhookPath = Annotated[str, BeforeValidator(_path)]


class WebhookEvent(_Model):
    """What a delivery is called: always `name`, or by what stands at `from`."""

    name: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    source: WebhookPath | None = Field(default=None, alias="from")
    names: dict[str, Annotated[str, Field(min_length=1, max_length=512)]] = {}
    """What they call it → what it is called here; where given, nothing else is taken."""

    @model_validator(mode="after")
    def _one(self) -> "WebhookEvent":
        if (self.name is None) == (self.source is None):
            raise ValueError("an event needs a `name`, or a `from` where its name stands")
        if self.names and self.source is None:
            raise ValueError("`names` translates what stands at `from`, and there is none")
        return self


class WebhookSource(_Model):
    """Another house's webhooks, posted to `/v1/webhook/<name>`; its secret is the environment's."""

    signature: Literal["standard", "hmac-sha256"] = "standard"
    tolerance: Duration = timedelta(minutes=5)
    """Of `standard`: how old, or how far ahead, a delivery may be."""
    header: Annotated[str, BeforeValidator(_header)] | None = None
    """Of `hmac-sha256`: where the body's HMAC stands."""
    encoding: Literal["base64", "hex"] = "base64"
    prefix: str = ""
    """What stands before the HMAC in its header, such as `sha256=`."""
    id: WebhookPath | None = None
    """What names a delivery, so that one that is sent again counts once."""
    event: WebhookEvent
    customer: WebhookPath | None = None
    anonymous: WebhookPath | None = None
    time: WebhookPath | None = None
    properties: dict[str, WebhookPath] = {}

    @model_validator(mode="after")
    def _whole(self) -> "WebhookSource":
        if self.customer is None and self.anonymous is None:
            raise ValueError("a source needs `customer` (or `anonymous`): where the id stands")
        if (self.signature == "hmac-sha256") != (self.header is not None):
            raise ValueError(
                "`header` names where the signature of `hmac-sha256` stands, and no other"
            )
        return self


def _a_day_at_least(window: timedelta) -> timedelta:
    if window < timedelta(days=1):
        raise ValueError("this is too short to compare customers by: write at least 1d")
    return window


class RfmSettings(_Model):
    """Who buys how recently, how often and for how much; scored every night and on demand."""

    event: Annotated[str, Field(min_length=1, max_length=200)]
    """The event of a purchase."""
    value: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """The property of it that holds what was paid. Unset: there is no `rfm.monetary`."""
    window: Annotated[Duration, AfterValidator(_a_day_at_least)] = timedelta(days=365)
    at: TimeOfDay = time(3)
    """When it is scored, in the workspace's time zone."""


def _receiver(text: object) -> str:
    if not isinstance(text, str) or not re.fullmatch(r"[a-z][a-z0-9-]{0,39}", text):
        raise ValueError(
            f"`{str(text)[:60]}` cannot name a receiver: write small letters, digits and dashes"
        )
    return text


def _receiver_url(text: object) -> str:
    if not isinstance(text, str) or not re.fullmatch(r"https?://[^\s/?#@]+([/?][^\s#]*)?", text):
        raise ValueError(
            f"`{str(text)[:60]}` is no address for receipts: write `https://host/path`,"
            " without a name or a password in it"
        )
    return text


class ReceiptsSettings(_Model):
    """Where receipts of messages that were asked for by `POST /api/messages` are sent."""

    url: Annotated[str, Field(max_length=2000), BeforeValidator(_receiver_url)]


class WorkspaceSettings(_Model):
    timezone: Zone = "UTC"
    locale: Annotated[str, BeforeValidator(_locale)] | None = None
    country: Annotated[str, BeforeValidator(_country)] | None = None
    holdout: Share = 0.0
    """Share of all customers who are sent no marketing at all, so that its effect shows."""
    policies: Policies = Policies()
    channels: dict[str, ChannelSettings] = {}
    rfm: RfmSettings | None = None
    ingest: IngestSettings = IngestSettings()
    sources: dict[Annotated[str, BeforeValidator(_source)], WebhookSource] = {}
    receipts: dict[Annotated[str, BeforeValidator(_receiver)], ReceiptsSettings] = {}

    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)
