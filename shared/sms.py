"""A Korean text message's size as carriers count it, and what they cannot carry.

Carriers take cp949 (Microsoft's EUC-KR): a Hangul syllable is two bytes. Up to 90 bytes go as SMS,
up to 2,000 as LMS. Python's `euc_kr` codec is not the same: it spells rare
syllables in eight bytes.
"""

from dataclasses import dataclass
from typing import Literal

SMS_BYTES = 90
LMS_BYTES = 2000
SUBJECT_BYTES = 40

SmsClass = Literal["SMS", "LMS", "too long"]

_INSTEAD = {
    "—": "-",
    "–": "-",
    "₩": "원",
    "é": "e",
    "è": "e",
    "ü": "u",
    "ö": "o",
    "ä": "a",
    "ñ": "n",
    "•": "·",
    "‑": "-",
    "\u00a0": " ",
    "\u200b": "",
    "\ufeff": "",
}


@dataclass(frozen=True, slots=True)
class SmsSize:
    bytes: int
    """Of what can be carried; a character that cannot counts two."""
    kind: SmsClass
    unsendable: tuple[str, ...]
    """The characters that no Korean carrier takes, each once, in order."""


def size_of(text: str) -> SmsSize:
    unsendable = tuple(dict.fromkeys(sign for sign in text if not _is_carried(sign)))
    count = len(text.encode("cp949", "ignore")) + 2 * sum(text.count(sign) for sign in unsendable)
    kind: SmsClass = "SMS" if count <= SMS_BYTES else "LMS" if count <= LMS_BYTES else "too long"
    return SmsSize(count, kind, unsendable)


def hint_for(unsendable: tuple[str, ...]) -> str:
    """What to write instead, where there is something."""
    known = [
        f"`{sign}` → `{_INSTEAD[sign]}`" if _INSTEAD[sign] else f"leave out U+{ord(sign):04X}"
        for sign in unsendable
        if sign in _INSTEAD
    ]
    return "; ".join(known) or "leave them out: carriers take Hangul, Latin, digits and KS X 1001"


def _is_carried(sign: str) -> bool:
    try:
        sign.encode("cp949")
    except UnicodeEncodeError:
        return False
    return True
