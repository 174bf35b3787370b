"""What Bizgo's codes mean: of its gateway, of the service behind it, and of reports.

A code of the gateway (`common.authCode`) is an HTTP status; the same letters mean something else in
`data.code`. https://developers.bizgo.io/api-sdk/api-reference/error-codes
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.dispatch.channels.kakao_codes import KAKAO
from services.dispatch.channels.port import Outcome

FINE = "A000"
THROTTLED = "A020"
NOT_THERE = "A820"
"""Of what is asked for: there is no such thing (yet)."""

_SERVICE: dict[Outcome, tuple[str, ...]] = {
    # A301: the idempotency key has been used, and only what an attempt whose answer was lost had
    # taken bears a used one.
    Outcome.ACCEPTED: (FINE, "A301"),
    Outcome.BROKEN_CONNECTION: (
        *("A001", "A002", "A100", "A110", "A111", "A113"),  # key expired, without right, blocked
        "A320",  # nothing is left of what may be sent
        *("A323", "A327"),  # the sender number is blocked, or not registered
        *("A325", "A326"),  # the account may not use the channel
        "A502",  # no such Kakao channel
    ),
    Outcome.THROTTLED: (THROTTLED,),
    Outcome.RETRYABLE: ("A920",),
    # An error inside: it may have been taken. It is repeated under its key.
    Outcome.UNKNOWN: ("A910", "A999"),
}
_TEXT: dict[Outcome, tuple[int, ...]] = {
    # No time left, no network, switched off, full, out of reach, busy; the carrier's own failure.
    Outcome.RETRYABLE: (*range(2000, 2008), 3005, 3011, 3035),
    # No subscriber; no such number.
    Outcome.UNDELIVERABLE_ADDRESS: (3001, 3003),
    # The sender number is protected, blocked or not registered, or the first sender is unknown.
    Outcome.BROKEN_CONNECTION: (3018, 3019, 3023, 3036),
}
_KAKAO: dict[Outcome, tuple[int, ...]] = {
    **KAKAO,
    # The Kakao channel is deleted, blocked, closed or under sanction, or its key is none.
    Outcome.BROKEN_CONNECTION: (1003, 1006, 1007, 1021, 1022, 1023, 1024, 1025, 1027),
}
_REPORTS = {
    "10000": Outcome.DELIVERED,
    "6ME09": Outcome.UNKNOWN,
    # A report is its network's digit (2 short texts, 3 long ones, 6 Kakao) before their own code.
    **{f"{net}{c}": o for net in "23" for o, codes in _TEXT.items() for c in codes},
    **{f"6{c}": o for o, codes in _KAKAO.items() for c in codes},
}
_MEANINGS = {code: outcome for outcome, codes in _SERVICE.items() for code in codes}


def meaning_of_code(code: str) -> Outcome:
    """Of the service. Total: every other code says that this message is refused."""
    return _MEANINGS.get(code, Outcome.REJECTED_MESSAGE)


def meaning_of_report(code: str) -> Outcome:
    """Total: every other code says that this message is refused, and nothing of the address."""
    return _REPORTS.get(code, Outcome.REJECTED_MESSAGE)


@dataclass(frozen=True, slots=True)
class Said:
    """One answer."""

    gateway: str
    """Empty: it is no answer of theirs."""
    code: str
    """Of the service; empty where the request has not come so far."""
    words: str
    """The code that decides, with its words, for the record."""
    data: Mapping[str, Any]


def said_in(fields: Mapping[str, Any]) -> Said:
    common, service = _object(fields.get("common")), _object(fields.get("data"))
    gateway, code = str(common.get("authCode") or ""), str(service.get("code") or "")
    words = f"{code} {service.get('result', '')}"
    if gateway != FINE:
        words = f"{gateway} {common.get('authResult', '')}"
    return Said(gateway, code, words.strip(), _object(service.get("data")))


def _object(found: object) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}
