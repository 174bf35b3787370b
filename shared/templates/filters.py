"""Filters of our own: Korean particles, and money, numbers and dates as the reader writes them.

The reader's locale and time zone are `message.locale` and `message.timezone`; instants are shown
in that zone. What a filter cannot read it leaves as it is, as Liquid's own do.

- `{{ profile.name | josa: "은/는" }}`
- `{{ trigger.price | currency }}`, `{{ event.total | currency: "EUR" }}`
- `{{ profile.points | number }}`
- `{{ profile.expires_at | format_date }}`, `format_date: "full"` (or long, medium, short)
- `{{ profile.expires_at | relative_time }}`: "3일 후", "in 3 days"
"""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError, dates, numbers
from liquid import RenderContext
from liquid.exceptions import FilterError
from liquid.filter import with_context
from liquid.undefined import is_undefined

from shared.templates.instants import instant_of
from shared.templates.korean import with_particle
from shared.templates.problems import TemplateFailed

_WON = "KRW"
_HOME = {"ko": _WON, "ja": "JPY", "en": "USD"}
_STYLES = ("full", "long", "medium", "short")


def josa(value: object, pair: object = "") -> str:
    if is_undefined(value) or value is None:
        return ""
    try:
        return with_particle(str(value), str(pair))
    except TemplateFailed as error:
        raise FilterError(str(error), token=None) from error


@with_context
def currency(value: object, code: object = "", *, context: RenderContext) -> object:
    """Without a code: the currency of the reader's language. Won are written out in Korean, since
    carriers do not take the sign."""
    amount = _decimal(value)
    if amount is None:
        return _as_it_is(value)
    locale = _locale(context)
    name = str(code).upper() if code else _HOME.get(locale.language, "USD")
    if name == _WON and locale.language == "ko":
        return f"{numbers.format_decimal(amount.quantize(Decimal(1)), locale=locale)}원"
    if not numbers.is_currency(name):
        raise FilterError(f"there is no currency {name[:10]}", token=None)
    return numbers.format_currency(amount, name, locale=locale)


@with_context
def number(value: object, *, context: RenderContext) -> object:
    amount = _decimal(value)
    if amount is None:
        return _as_it_is(value)
    return numbers.format_decimal(amount, locale=_locale(context))


@with_context
def format_date(value: object, style: object = "long", *, context: RenderContext) -> object:
    moment = _moment(value, context)
    if moment is None:
        return _as_it_is(value)
    if style not in _STYLES:
        raise FilterError(f"format_date takes {', '.join(_STYLES)}", token=None)
    wanted: Any = style
    return dates.format_date(moment, wanted, locale=_locale(context))


@with_context
def relative_time(value: object, *, context: RenderContext) -> object:
    """From now, in the largest unit: full days where only a date is given."""
    moment, now = _moment(value, context), context.resolve("now")
    if moment is None or not isinstance(now, datetime):
        return _as_it_is(value)
    local_now = now.astimezone(_zone(context) or UTC)
    unit: Literal["day", "second"] = "second"
    if isinstance(moment, datetime):
        left = moment - local_now
    else:
        unit, left = "day", moment - local_now.date()
    return dates.format_timedelta(
        left, granularity=unit, add_direction=True, locale=_locale(context)
    )


OWN: dict[str, Callable[..., Any]] = {
    "josa": josa,
    "currency": currency,
    "number": number,
    "format_date": format_date,
    "relative_time": relative_time,
}


def local(moment: datetime, context: RenderContext) -> datetime:
    """In the reader's zone; as it is written where that or its own offset is not known."""
    zone = _zone(context)
    return moment if moment.tzinfo is None or zone is None else moment.astimezone(zone)


def _moment(value: object, context: RenderContext) -> datetime | date | None:
    if isinstance(value, str) and len(value) == 10:
        try:
            return date.fromisoformat(value)
        except ValueError:
            return None
    found = instant_of(value)
    if found is None:
        return None
    return local(found if found.tzinfo else found.replace(tzinfo=UTC), context)


def _message(context: RenderContext, name: str) -> str:
    message = context.resolve("message", default=None)
    value = message.get(name) if isinstance(message, dict) else None
    return value if isinstance(value, str) else ""


def _locale(context: RenderContext) -> Locale:
    wanted = _message(context, "locale").replace("-", "_")
    while wanted:
        try:
            return Locale.parse(wanted)
        except (UnknownLocaleError, ValueError):
            wanted = wanted.rpartition("_")[0]
    return Locale("en")


def _zone(context: RenderContext) -> ZoneInfo | None:
    name = _message(context, "timezone")
    try:
        return ZoneInfo(name) if name else None
    except (KeyError, ValueError, OSError):
        return None


def _decimal(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        return None
    return found if found.is_finite() and found.adjusted() < 18 else None


def _as_it_is(value: object) -> object:
    return "" if is_undefined(value) or value is None else value
