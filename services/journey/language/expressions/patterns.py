"""Patterns of `matches`, in RE2: linear in the text, bounded in memory, whatever is written."""

from typing import Any

import re2


class BadPattern(ValueError):
    """The pattern cannot be compiled; the message says why."""


def pattern(text: str) -> Any:
    """A compiled pattern; raises BadPattern."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        return re2.compile(text, options)
    except (re2.error, UnicodeError) as error:
        reason = error.args[0] if error.args else ""
        words = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise BadPattern(words) from error
