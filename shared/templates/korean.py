"""Particles (조사): which of a pair a word takes is heard at its end.

`{{ profile.name | josa: "은/는" }}`. Hangul tells by its final consonant, digits by how they are
read, and letters by their names (`L`, `M`, `N` and `R` end in a consonant). Where the ear cannot
know, as for foreign words in Latin letters, both are written: `Dangol은(는)`.
"""

import re

from shared.templates.problems import TemplateFailed

PAIRS = {
    "은/는": ("은", "는"),
    "이/가": ("이", "가"),
    "을/를": ("을", "를"),
    "과/와": ("과", "와"),
    "으로/로": ("으로", "로"),
    "아/야": ("아", "야"),
    "이나/나": ("이나", "나"),
    "이랑/랑": ("이랑", "랑"),
    "이에요/예요": ("이에요", "예요"),
    "이라/라": ("이라", "라"),
}
"""Behind a consonant, behind a vowel."""
_NAMES = {name: pair for pair in PAIRS.values() for name in ("/".join(pair), "/".join(pair[::-1]))}
_DIGITS = {"0": "ㅇ", "1": "ㄹ", "3": "ㅁ", "6": "ㄱ", "7": "ㄹ", "8": "ㄹ"}
"""Those that are read with a final consonant."""
_ROUND = re.compile(r"\d[\d,]*0$")
_CLOSERS = "\"')]}’”」』》〉.,!?~ "


def with_particle(word: str, pair: str) -> str:
    """The word with the particle; raises TemplateFailed for a pair that there is not."""
    found = _NAMES.get(pair.replace(" ", ""))
    if found is None:
        raise TemplateFailed(f"there is no particle {pair[:20]!r}; there are {', '.join(PAIRS)}")
    consonant, vowel = found
    final = _final(word)
    if final is None:
        return f"{word}{_both(consonant, vowel)}" if word else word
    if final == "" or (final == "ㄹ" and consonant == "으로"):
        return f"{word}{vowel}"
    return f"{word}{consonant}"


def _both(consonant: str, vowel: str) -> str:
    if consonant == f"이{vowel}" or consonant == f"으{vowel}":
        return f"({consonant[0]}){vowel}"
    return f"{consonant}({vowel})"


def _final(word: str) -> str | None:
    """The final consonant as it sounds: empty for a vowel, None where it cannot be known."""
    heard = word.rstrip(_CLOSERS)
    if not heard:
        return None
    last = heard[-1]
    if "가" <= last <= "힣":
        number = (ord(last) - ord("가")) % 28
        return "ㄹ" if number == 8 else "ㅇ" if number else ""
    if last in "0123456789":
        # Round numbers end in 십, 백, 천, 만 or 억: in a consonant, and none of them in ㄹ.
        return "ㅇ" if _ROUND.search(heard) else _DIGITS.get(last, "")
    if last.isascii() and last.isupper() and heard[-2:].isupper():
        return "ㄹ" if last in "LR" else "ㅇ" if last in "MN" else ""
    return None
