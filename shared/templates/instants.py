"""What in plain data is a moment: an instant, an ISO text, or epoch seconds."""

import re
from datetime import UTC, datetime

_ISO = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d.*)?", re.ASCII)


def instant_of(value: object) -> datetime | None:
    try:
        if isinstance(value, datetime):
            return value
        if isinstance(value, str) and len(value) < 40 and _ISO.fullmatch(value):
            return datetime.fromisoformat(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None
