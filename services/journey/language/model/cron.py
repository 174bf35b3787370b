"""Reads `schedule:`, five fields as in crontab: minute, hour, day, month, weekday."""

import re

from services.journey.core.calendar import Cron

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, ("", *_MONTHS)),
    ("weekday", 0, 7, _WEEKDAYS),
)
_PART = re.compile(r"(?:\*|(\w+)(?:-(\w+))?)(?:/([0-9]{1,2}))?", re.ASCII)


def read_cron(text: str) -> Cron:
    """Raises ValueError that says which field is wrong, or that it never fires."""
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(
            'a schedule has five fields (minute, hour, day, month, weekday), as in "0 10 * * mon"'
        )
    minutes, hours, days, months, weekdays = (
        frozenset(n for part in written.split(",") for n in _part(part, *field))
        for written, field in zip(fields, _FIELDS, strict=True)
    )
    cron = Cron(
        minutes,
        hours,
        days,
        months,
        frozenset(day % 7 for day in weekdays),
        # As in crontab: `*/2` restricts nothing by itself.
        either_day=not fields[2].startswith("*") and not fields[4].startswith("*"),
        every_pass=fields[1].startswith("*"),
    )
    if not cron.ever_fires:
        raise ValueError(f"there is no such day: `{text[:60]}` never fires")
    return cron


def _part(part: str, name: str, low: int, high: int, names: tuple[str, ...]) -> range:
    """The numbers that a part such as `mon-fri`, `*/15` or `5` stands for."""
    match = _PART.fullmatch(part)
    if match is None or match[3] == "0":
        raise ValueError(f"`{part[:20]}` is no {name} of a schedule")
    bounds = [_number(word, names) for word in match.groups()[:2] if word is not None]
    if any(bound is None or not low <= bound <= high for bound in bounds):
        raise ValueError(f"`{part[:20]}` is no {name}: it runs from {low} to {high}")
    first = low if match[1] is None else bounds[0] or 0
    last = first
    if len(bounds) == 2:
        last = bounds[1] or 0
    elif match[1] is None or match[3]:  # a step behind a single number goes on to the end: `5/15`
        last = 6 if name == "weekday" else high
    if len(bounds) == 2 and name == "weekday" and last == 0 < first:
        last = 7  # `sat-sun`
    if first > last:
        raise ValueError(f"`{part[:20]}` runs backwards")
    return range(first, last + 1, int(match[3] or 1))


def _number(word: str, names: tuple[str, ...]) -> int | None:
    if word.isdigit():
        return int(word) if len(word) <= 2 else None
    return names.index(word.lower()) if word.lower() in names else None
