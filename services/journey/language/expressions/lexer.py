"""Expression text to tokens. Refuses, in plain words, what looks like another language."""

import re
from dataclasses import dataclass
from typing import Literal

from services.journey.language.expressions.syntax import Mistake, Span

MOST_CHARACTERS = 4_000
UNCLOSED = "this quote is never closed"

TokenKind = Literal["number", "text", "name", "keyword", "symbol", "end"]

KEYWORDS = frozenset(
    {"and", "or", "not", "in", "for", "null", "true", "false", "None", "True", "False"}
)


@dataclass(frozen=True, slots=True)
class Token:
    kind: TokenKind
    text: str
    span: Span
    value: str | int | float | None = None

    def shown(self) -> str:
        """As a message names it."""
        return "the end" if self.kind == "end" else f"`{self.text[:40]}`"


class Refused(Exception):
    """Raised within this package where reading cannot go on; the parser turns it into a result."""

    def __init__(self, start: int, end: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.mistake = Mistake(Span(start, max(end, start + 1)), message, hint)


_TOKEN = re.compile(
    r"""
    (?P<blank>[ \t\n]+)
  | (?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
  | (?P<name>[^\W\d]\w*)
  | (?P<quote>["'])
  | (?P<symbol>==|!=|<=|>=|[<>+\-*/()\[\],.=])
    """,
    re.VERBOSE,
)

_FOREIGN: tuple[tuple[str, str, str], ...] = (
    ("===", "`===` is not an operator here", "write `==`"),
    ("!==", "`!==` is not an operator here", "write `!=`"),
    ("<>", "`<>` is not an operator here", "write `!=`"),
    ("=<", "`=<` is not an operator here", "write `<=`"),
    ("=>", "`=>` is not an operator here", "write `>=`"),
    ("&&", "`&&` is not an operator here", "write `and`"),
    ("||", "`||` is not an operator here", "write `or`"),
    ("**", "powers (`**`) are not part of the language", "multiply instead"),
    ("//", "`//` is not part of the language", "divide with `/`"),
    (":=", "nothing can be assigned in a condition", "compare with `==`"),
    ("++", "`++` is not an operator here", ""),
    ("&", "`&` is not an operator here", "write `and`"),
    ("|", "`|` is not an operator here", "write `or`"),
    ("%", "`%` is not part of the language", "write a tenth as 0.1"),
    ("^", "`^` is not part of the language", ""),
    ("~", "`~` is not part of the language", ""),
    ("@", "`@` is not part of the language", "put a text in quotes"),
    ("$", "`$` is not part of the language", "write names without it: `event.price`"),
    ("?", "`?` is not part of the language", "use `and`, `or` and `not`; or a `branch`"),
    (";", "an expression is one condition: `;` ends nothing here", "join conditions with `and`"),
    (":", "`:` has no meaning here", "put a text in quotes"),
    ("{", "`{` has no meaning here", "names are written plainly: `event.price`"),
    ("}", "`}` has no meaning here", "names are written plainly: `event.price`"),
    ("`", "a text stands in straight quotes", 'write "…"'),
    ("“", "these are typographic quotes", 'use straight ones: "…"'),
    ("”", "these are typographic quotes", 'use straight ones: "…"'),
    ("‘", "these are typographic quotes", "use straight ones: '…'"),
    ("’", "these are typographic quotes", "use straight ones: '…'"),
    ("≥", "`≥` is not an operator here", "write `>=`"),
    ("≤", "`≤` is not an operator here", "write `<=`"),
    ("≠", "`≠` is not an operator here", "write `!=`"),
    ("×", "`×` is not an operator here", "write `*`"),
    ("÷", "`÷` is not an operator here", "write `/`"),
    ("!", "`!` is not an operator here", "write `not`"),
    ("\\", "a backslash stands only within quotes", ""),
    ("#", "a comment cannot stand within a condition", "put it on a line of its own"),
)
"""Longest first where one begins like another."""

_ESCAPES = {"n": "\n", "t": "\t", "\\": "\\", '"': '"', "'": "'"}


def tokenize(text: str) -> list[Token]:
    """The tokens of an expression, with an `end` behind the last; raises Refused."""
    if len(text) > MOST_CHARACTERS:
        raise Refused(
            MOST_CHARACTERS,
            MOST_CHARACTERS + 1,
            f"a condition may have {MOST_CHARACTERS:,} characters and this one has {len(text):,}",
            "split it over several branches, or give part of it a segment",
        )
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        _refuse_foreign(text, at)
        match = _TOKEN.match(text, at)
        if match is None:
            raise Refused(at, at + 1, f"`{text[at]}` has no meaning here", _wide(text[at]))
        at = match.end()
        if match.lastgroup == "quote":
            token = _text(text, match.start())
            at = token.span.end
            tokens.append(token)
        elif match.lastgroup == "number":
            tokens.append(_number(text, match))
        elif match.lastgroup == "name":
            tokens.append(_name(text, match))
        elif match.lastgroup == "symbol":
            tokens.append(Token("symbol", match[0], Span(*match.span())))
    tokens.append(Token("end", "", Span(len(text), len(text) + 1)))
    return tokens


def _refuse_foreign(text: str, at: int) -> None:
    if text[at].isalnum() or text[at] in " \n\"'(),[]._":
        return
    if text.startswith(("==", "!=", "<=", ">="), at) and text[at : at + 3] not in ("===", "!=="):
        return
    for words, message, hint in _FOREIGN:
        if text.startswith(words, at):
            raise Refused(at, at + len(words), message, hint)


def _wide(character: str) -> str:
    """A full-width form (as a Korean or Japanese keyboard may type) named by its plain one."""
    code = ord(character) - 0xFEE0
    return f"write `{chr(code)}`" if 0x21 <= code <= 0x7E else ""


def _name(text: str, match: "re.Match[str]") -> Token:
    word, span = match[0], Span(*match.span())
    if word.startswith("__"):
        raise Refused(*span, "names that begin with `__` are refused")
    if text[span.end : span.end + 1] in ("'", '"') and word.lower() in ("f", "r", "b", "u", "rb"):
        raise Refused(*span, "letters before a quote have no meaning here", f"leave `{word}` out")
    return Token("keyword" if word in KEYWORDS else "name", word, span)


def _number(text: str, match: "re.Match[str]") -> Token:
    start, end = match.span()
    written = match[0]
    behind = _WORD.match(text, end)
    if behind is not None:
        whole = written + behind[0]
        hint = f'a duration stands in quotes: "{whole}"' if _DURATION.fullmatch(whole) else ""
        raise Refused(start, behind.end(), f"`{whole[:40]}` is no number", hint)
    fraction = "." in written or "e" in written.lower()
    if len(written) > (_LONGEST_FRACTION if fraction else _LONGEST_WHOLE):
        raise Refused(start, end, "this number is too long", "15 digits are plenty")
    if fraction:
        value = float(written)
        if value == float("inf"):
            raise Refused(start, end, "this number is too large")
        return Token("number", written, Span(start, end), value)
    if re.search(r"[0-9],$", text[:start]) and re.fullmatch("0[0-9]{2}", written):
        raise Refused(start - 1, end, "a number is written without commas", "as in 10000")
    if len(written) > 1 and written.startswith("0"):
        raise Refused(
            start, end, "a number does not begin with 0", "put a code in quotes, like a text"
        )
    return Token("number", written, Span(start, end), int(written))


_WORD = re.compile(r"\w+")
_DURATION = re.compile(r"(?:[0-9]{1,9}[wdhms]){1,5}")
_LONGEST_WHOLE, _LONGEST_FRACTION = 18, 30


def _text(text: str, start: int) -> Token:
    quote, at = text[start], start + 1
    parts: list[str] = []
    while at < len(text):
        character = text[at]
        if character == quote:
            return Token("text", text[start : at + 1], Span(start, at + 1), "".join(parts))
        if character == "\\" and at + 1 < len(text):
            # Unknown escapes stay as written: a pattern's "\d" needs no doubling.
            parts.append(_ESCAPES.get(text[at + 1], "\\" + text[at + 1]))
            at += 2
        else:
            parts.append(character)
            at += 1
    raise Refused(start, start + 1, UNCLOSED, f"end the text with {quote}")
