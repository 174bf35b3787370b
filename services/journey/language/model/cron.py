"""Checks `schedule:`, five fields as in crontab: minute, hour, day, month, weekday."""

import re

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


def check_cron(text: str) -> str:
    """The text itself; raises ValueError that says which field is wrong."""
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(
            'a schedule has five fields (minute, hour, day, month, weekday), as in "0 10 * * mon"'
        )
    for written, (name, low, high, names) in zip(fields, _FIELDS, strict=True):
        for part in written.split(","):
            _check_part(part, name, low, high, names)
    return text


def _check_part(part: str, name: str, low: int, high: int, names: tuple[str, ...]) -> None:
    match = _PART.fullmatch(part)
    if match is None or match[3] == "0":
        raise ValueError(f"`{part[:20]}` is no {name} of a schedule")
    bounds = [_number(word, names) for word in match.groups()[:2] if word is not None]
    if any(bound is None or not low <= bound <= high for bound in bounds):
        raise ValueError(f"`{part[:20]}` is no {name}: it runs from {low} to {high}")
    if len(bounds) == 2 and (bounds[0] or 0) > (bounds[1] or 0):
        raise ValueError(f"`{part[:20]}` runs backwards")


def _number(word: str, names: tuple[str, ...]) -> int | None:
    if word.isdigit():
        return int(word) if len(word) <= 2 else None
    return names.index(word.lower()) if word.lower() in names else None
