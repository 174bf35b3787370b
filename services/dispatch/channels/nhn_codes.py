"""What NHN Cloud's codes mean: those of its API (negative), and those of a message's report.

https://docs.nhncloud.com/en/Notification/SMS/en/error-code/ and
https://docs.nhncloud.com/en/Notification/KakaoTalk%20Bizmessage/en/alimtalk-error-code/
"""

from collections.abc import Mapping
from typing import Any

from services.dispatch.channels.kakao_codes import KAKAO
from services.dispatch.channels.port import Outcome

_API: dict[Outcome, tuple[int, ...]] = {
    # -1005: the idempotency key was used within ten minutes, and only what an attempt whose answer
    # was lost had taken bears a used one.
    Outcome.ACCEPTED: (0, -1005),
    # Wrong app key or secret key, sender profile missing or blocked, the month's quota is used up.
    Outcome.BROKEN_CONNECTION: (-1000, -1001, -1002, -1003, -1006, -1027, -2052),
    Outcome.RETRYABLE: (-2021, -9999),
}
_TEXT: dict[Outcome, tuple[int, ...]] = {
    Outcome.DELIVERED: (1000,),
    Outcome.RETRYABLE: (1001, *range(2000, 2008)),
    # No subscriber; no such number.
    Outcome.UNDELIVERABLE_ADDRESS: (3001, 3003),
    # The sender number is not registered or blocked.
    Outcome.BROKEN_CONNECTION: (3017, 3018, 3019),
}
_KAKAO: dict[Outcome, tuple[int, ...]] = {
    **KAKAO,
    Outcome.DELIVERED: (1000,),
    # It was taken once before.
    Outcome.ACCEPTED: (4131,),
}


def _by_code(table: dict[Outcome, tuple[int, ...]]) -> dict[int, Outcome]:
    return {code: outcome for outcome, codes in table.items() for code in codes}


_MEANINGS = {"api": _by_code(_API), "text": _by_code(_TEXT), "kakao": _by_code(_KAKAO)}

OPTED_OUT = -6001
"""The person has refused advertising by the 080 number."""


def header_of(fields: Mapping[str, Any]) -> tuple[int | None, str]:
    """What the `header` of every answer says: its code (0: all went well; None: it is no answer of
    theirs), and the code with its words, for the record."""
    header = fields.get("header")
    code = header.get("resultCode") if isinstance(header, dict) else None
    if not isinstance(header, dict) or not isinstance(code, int):
        return None, ""
    return code, f"{code} {header.get('resultMessage', '')}".strip()


def meaning_of_api_code(code: int) -> Outcome:
    """Total: every other code says that this message is refused."""
    return _MEANINGS["api"].get(code, Outcome.REJECTED_MESSAGE)


def meaning_of_report(code: int, *, kakao: bool) -> Outcome:
    """Total: every other code says that this message is refused, and nothing of the address."""
    return _MEANINGS["kakao" if kakao else "text"].get(code, Outcome.REJECTED_MESSAGE)
