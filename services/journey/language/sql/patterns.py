"""Patterns of `matches`: the part of RE2 that PostgreSQL's expressions mean alike, rewritten.

Everything else raises Inexact, and the closure looks again. What differs and is rewritten: in RE2
`.` is no newline, and `\\d`, `\\w` and `\\s` are ASCII. `$` without flags is the very end in both.
PostgreSQL's repeats go to 255; large ones are left to RE2, whose memory is bounded.
"""

import re

from services.journey.language.sql.kinds import Inexact

_LARGEST = 255
_MOST = 500
"""Of the sizes of all repeats together, multiplied: PostgreSQL unrolls them."""

_CLASSES = {"d": "0-9", "w": "0-9A-Za-z_", "s": r"\t\n\f\r "}
_CONTROLS = {"n": r"\n", "t": r"\t", "r": r"\r", "f": r"\f", "v": r"\v"}
_MEANT = frozenset(r"\.[]{}()*+?^$|")

_TOKEN = re.compile(
    r"""
    \\(?P<escape>[\s\S])
  | (?P<set>\[\^?(?:\\[\s\S]|[^\]\[\\])+\])
  | (?P<open>\((?:\?:)?(?!\?))
  | (?P<repeat>[*+?]\??|\{[0-9]{1,4}(?:,[0-9]{0,4})?\}\??)
  | (?P<one>[|)^$.])
  | (?P<text>[^\\\[\](){}*+?|^$.])
    """,
    re.VERBOSE,
)


def translated(pattern: str) -> str:
    """The same search for PostgreSQL; raises Inexact."""
    if "\0" in pattern or not pattern.isprintable():
        raise Inexact
    parts, at, size = [], 0, 1
    while at < len(pattern):
        match = _TOKEN.match(pattern, at)
        if match is None:
            raise Inexact
        at = match.end()
        token, kind = match.group(), match.lastgroup
        if kind == "escape":
            parts.append(_escaped(match["escape"]))
        elif kind == "set":
            parts.append(_set(token))
        elif kind == "repeat":
            size *= _times(token)
            parts.append(token)
            if _repeated_again(pattern, at):
                raise Inexact
        else:
            parts.append({".": r"[^\n]", "(": "(?:"}.get(token, token))
    if size > _MOST or len(pattern) > _MOST:
        raise Inexact
    return "(?:" + "".join(parts) + ")"


def _escaped(letter: str) -> str:
    if letter in _CLASSES:
        return f"[{_CLASSES[letter]}]"
    if letter.lower() in _CLASSES:
        return f"[^{_CLASSES[letter.lower()]}]"
    if letter in _CONTROLS:
        return _CONTROLS[letter]
    if letter.isalnum() or not letter.isascii():
        raise Inexact
    return "\\" + letter


def _set(token: str) -> str:
    """A bracket expression; PostgreSQL knows escapes and ranges in it too."""
    inner = token[2 if token.startswith("[^") else 1 : -1]
    parts = []
    for match in re.finditer(r"\\([\s\S])|([\s\S])", inner):
        escape, text = match.groups()
        if text is not None:
            parts.append(text)
        elif escape in _CLASSES:
            parts.append(_CLASSES[escape])
        elif escape in _CONTROLS:
            parts.append(_CONTROLS[escape])
        elif escape.isalnum() or not escape.isascii():
            raise Inexact
        else:
            parts.append("\\" + escape)
    if re.search(r"\\[dws]-.|.-\\[dws]|--|&&|~~|\[", inner):
        raise Inexact
    return token[: 2 if token.startswith("[^") else 1] + "".join(parts) + "]"


def _times(token: str) -> int:
    numbers = [int(number) for number in re.findall("[0-9]+", token)]
    if any(number > _LARGEST for number in numbers):
        raise Inexact
    return max(1, *numbers, 1)


def _repeated_again(pattern: str, at: int) -> bool:
    return at < len(pattern) and pattern[at] in "*+?{"
