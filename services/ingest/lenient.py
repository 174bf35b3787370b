"""JSON as SDKs really write it, for what the strict decoder refuses.

Python's own SDKs send bare NaN and Infinity, lone surrogates, NUL and integers of any size; a 400
would cost the hundred events of a batch. Chosen here:

- NaN, Infinity, and numbers too large for a double become null;
- an integer beyond 64 bits becomes a double: it stays a number, so that conditions still compare
  it, at the price of its last digits (as an id it keeps them: ids become text first);
- a lone surrogate becomes U+FFFD, NUL is dropped, bytes that are no UTF-8 become U+FFFD.
"""

import json
import math
import re
from typing import Any

import msgspec

from services.ingest.refused import Reason, Unusable
from shared.errors import BadInput

_SURROGATES = re.compile("[\ud800-\udfff]")
_MOST_DIGITS = 400
"""No double has more digits before the point."""


def _integer(digits: str) -> int | None:
    return int(digits) if len(digits) < _MOST_DIGITS else None


def _float(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _constant(_: str) -> None:
    return None


_decoder = json.JSONDecoder(
    parse_int=_integer, parse_float=_float, parse_constant=_constant, strict=False
)


def parse(body: bytes) -> Any:
    """Any JSON value, not yet cleaned: see `clean`. Raises BadInput for what is no JSON at all."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return _decoder.decode(body.decode("utf-8-sig", "replace"))
    except ValueError as error:
        raise BadInput("The body is not JSON.") from error
    except RecursionError as error:
        raise BadInput("The body nests objects or lists too deeply.") from error


def clean(value: Any, room: int) -> Any:
    """The value without what the log or a database could not hold; `room` is the depth left."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, int):  # bool too
        return value if -(2**63) <= value < 2**63 else as_double(value)
    if isinstance(value, dict | list):
        if room == 0:
            raise Unusable(Reason.TOO_DEEP)
        if isinstance(value, list):
            return [clean(item, room - 1) for item in value]
        return {clean_text(key): clean(item, room - 1) for key, item in value.items()}
    return value


def clean_text(text: str) -> str:
    if "\0" in text:
        text = text.replace("\0", "")
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def as_double(number: int) -> float | None:
    try:
        return float(number)
    except OverflowError:
        return None


def write(value: Any) -> bytes:
    """The JSON text of a parsed value; nothing for one that is too deep to be written."""
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except RecursionError:
        return b""
    return text.encode("utf-8", "replace")
