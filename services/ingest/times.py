"""Instants as clients write them, read as leniently as can be done without guessing.

Understood: RFC 3339 in every form that msgspec reads; ISO dates with one-digit parts, without
seconds, without a time, with a comma before the fraction; numbers, and texts of digits, as seconds,
milliseconds or microseconds since 1970 (told apart by size). An instant without an offset is UTC.
"""

import re
from datetime import UTC, datetime, timedelta, timezone

import msgspec

from shared.clock import EPOCH

_ISO = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})"
    r"(?:[Tt ]+(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:[.,](\d+))?)?)?"
    r"\s*(?:[Zz]|UTC|GMT|([+-])(\d{2}):?(\d{2})?)?",
    re.ASCII,
)
_NUMBER = re.compile(r"-?\d{1,20}(?:\.\d{1,20})?", re.ASCII)

# 1e11 seconds is the year 5138 and 1e11 milliseconds is 1973: no instant of ours is ambiguous.
_SECONDS_BELOW = 1e11
_MILLIS_BELOW = 1e14
_MICROS_BELOW = 1e17


def parse_time(value: object) -> datetime | None:
    """The instant meant, perhaps naive or with an offset (see `as_utc`); None if none is meant."""
    if isinstance(value, str):
        text = value.strip()
        try:
            return msgspec.convert(text, datetime)
        except msgspec.ValidationError:
            return _epoch(float(text)) if _NUMBER.fullmatch(text) else _iso(text)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _epoch(value)
    return None


def as_utc(instant: datetime) -> datetime | None:
    """None for the few instants at the ends of the calendar that have no UTC form."""
    if instant.tzinfo is UTC:
        return instant
    if instant.tzinfo is None:
        return instant.replace(tzinfo=UTC)
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        return None


def _epoch(number: float) -> datetime | None:
    size = abs(number)
    if size < _SECONDS_BELOW:
        unit = timedelta(seconds=1)
    elif size < _MILLIS_BELOW:
        unit = timedelta(milliseconds=1)
    elif size < _MICROS_BELOW:
        unit = timedelta(microseconds=1)
    else:
        return None
    try:
        return EPOCH + number * unit
    except OverflowError:
        return None


def _iso(text: str) -> datetime | None:
    match = _ISO.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, sign, off_hours, off_minutes = match.groups()
    offset = timedelta(hours=int(off_hours or 0), minutes=int(off_minutes or 0))
    try:
        return datetime(
            int(year),
            int(month),
            int(day),
            int(hour or 0),
            int(minute or 0),
            int(second or 0),
            int((fraction or "0")[:6].ljust(6, "0")),
            tzinfo=timezone(-offset if sign == "-" else offset) if offset else UTC,
        )
    except ValueError:
        return None
