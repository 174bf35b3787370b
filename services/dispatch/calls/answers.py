"""What a receiver's answer makes of a call. Pure.

Any 2xx is `sent`; its JSON body is the response. What says that the request itself is wrong (a
redirect, 4xx) ends the call at once; what says "not now" (408, 425, 429, 5xx, no answer at all)
is tried again by the ladder of messages, each try under the same webhook-id, so that a receiver
that remembers it acts once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from services.dispatch.outbound.client import Refused, Reply, Unreachable
from services.dispatch.policy import retry_delay
from services.dispatch.policy.retry import LADDER
from shared.decisions import CallOutcome, Reason

RECEIPT_LADDER = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    *(timedelta(hours=hours) for hours in (2, 5, 10, 14, 20, 24)),
)
"""Nine retries over about three days, as Standard Webhooks advises: nobody waits for a receipt,
and a receiver may be away over a weekend."""
MOST = 16_384
"""Bytes of an answer: it becomes part of the customer's row."""
DEEPEST = 32
LONGEST_WISH = LADDER[-1]
"""Of a receiver that asks to be left alone (`Retry-After`)."""
_NOT_NOW = frozenset({408, 425, 429})
_WIDEST = 2**63


@dataclass(frozen=True, slots=True)
class Verdict:
    """`outcome` None: to be tried again, in `wish` at the earliest if the receiver said so."""

    outcome: CallOutcome | None
    reason: Reason | None = None
    response: Any = None
    detail: str = ""
    wish: timedelta | None = None
    gone: bool = False
    """410: by the standard, the receiver wants no more."""


class Unusable(Exception):
    """Why an answer cannot be used."""


def of_reply(reply: Reply, real_now: datetime) -> Verdict:
    said = f"HTTP {reply.status}"
    if 200 <= reply.status < 300:
        try:
            return Verdict("sent", None, response_of(reply), said)
        except Unusable as why:
            return Verdict("failed", Reason.BAD_ANSWER, None, f"{said}, {why}")
    if reply.status in _NOT_NOW or reply.status >= 500:
        return Verdict(None, detail=said, wish=_wish(reply.headers, real_now))
    if 300 <= reply.status < 400:
        return Verdict("failed", Reason.REJECTED, None, f"{said}: redirects are not followed")
    return Verdict("failed", Reason.REJECTED, None, said)


def of_receipt(reply: Reply, real_now: datetime) -> Verdict:
    """Of a receipt, as Standard Webhooks says: any 2xx has taken it, whatever its body; 410 wants
    no more; all else, a redirect too, is tried again, since a receiver may be mended meanwhile."""
    said = f"HTTP {reply.status}"
    if 200 <= reply.status < 300:
        return Verdict("sent", detail=said)
    if reply.status == 410:
        return Verdict("failed", Reason.REJECTED, None, said, gone=True)
    return Verdict(None, detail=said, wish=_wish(reply.headers, real_now))


def of_error(error: Refused | Unreachable) -> Verdict:
    if isinstance(error, Refused):
        return Verdict("failed", Reason.UNDELIVERABLE, None, str(error))
    return Verdict(None, detail=str(error))


def delay_after(
    verdict: Verdict, attempts: int, call_id: str, *, receipt: bool = False
) -> timedelta | None:
    """How long to wait after so many tries; None: given up."""
    ladder = RECEIPT_LADDER if receipt else LADDER
    delay = retry_delay(attempts, call_id, ladder)
    if delay is None or verdict.wish is None:
        return delay
    return max(delay, min(verdict.wish, LONGEST_WISH))


def _wish(headers: Mapping[str, str], real_now: datetime) -> timedelta | None:
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return timedelta(seconds=min(int(text[:9]), 86_400))
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max((at if at.tzinfo else at.replace(tzinfo=UTC)) - real_now, timedelta(0))


def response_of(reply: Reply) -> Any:
    """The JSON answer; None where the receiver says nothing, or says something else than JSON."""
    if not reply.whole:
        raise Unusable(f"an answer of more than {MOST} bytes")
    if not reply.body.strip():
        return None
    try:
        value = msgspec.json.decode(reply.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        if "json" in reply.headers.get("content-type", "").lower():
            raise Unusable("an answer that is called JSON and is none") from error
        return None
    return _kept(value, DEEPEST)


def _kept(value: Any, depth: int) -> Any:
    """As it can be stored and read again: no U+0000, no number that has no place."""
    if depth == 0:
        raise Unusable(f"an answer nested more than {DEEPEST} deep")
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, dict):
        return {_kept(name, depth): _kept(inner, depth - 1) for name, inner in value.items()}
    if isinstance(value, list):
        return [_kept(inner, depth - 1) for inner in value]
    if isinstance(value, int) and not -_WIDEST <= value < _WIDEST:
        return None
    return value
