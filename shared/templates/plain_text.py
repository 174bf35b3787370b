"""The text part of an HTML mail, for readers that show none: blocks to lines, links kept.

Every mail has one made of what it says, so this runs for each. A parser of HTML calls back for
every tag and takes its attributes apart; a mail has hundreds, and two kinds of them matter. This
takes time in proportion to the mail's length, whatever stands in it.
"""

import re
from bisect import bisect_left
from html import unescape

_NAME = r"[A-Za-z][^\s/>]{0,63}+"
# A comment, a declaration, a tag with its name and what follows it, or the beginning of one that
# never ends. Nothing is tried twice.
_MARKUP = re.compile(
    r"<(?:!--.*?(?:-->|\Z)|[!?][^>]*+(?:>|\Z)"
    rf"|(/?)({_NAME})((?:[^\"'>]++|\"[^\"]*+\"|'[^']*+')*+)>|(?P<endless>/?[A-Za-z]))",
    re.DOTALL,
)
_BEGINNING = re.compile(rf"<(?:[!?]|/?{_NAME})")
_NUMBER_TOO_LONG = re.compile(r"&#(?:[0-9]{8,}|[xX][0-9a-fA-F]{7,});?")
_ATTRIBUTE = r"(?<![^\s\"'/])%s\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+))"
_HREF = re.compile(_ATTRIBUTE % "href", re.IGNORECASE)
_ALT = re.compile(_ATTRIBUTE % "alt", re.IGNORECASE)
_SPACE = re.compile(r"\s+")
_RAW = {name: re.compile(f"</{name}\\b", re.IGNORECASE) for name in ("script", "style")}
_HIDDEN = frozenset({"style", "script", "head", "title", "template"})
_PARAGRAPHS = frozenset({"p", "h1", "h2", "h3"})
# fmt: off
_BLOCKS = frozenset((
    "address", "article", "aside", "blockquote", "center", "dd", "div", "dl", "dt",
    "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6",
    "header", "hr", "li", "main", "nav", "ol", "p", "pre", "section",
    "table", "tr", "ul",
))
# fmt: on
_KNOWN = _BLOCKS | _HIDDEN | {"br", "td", "th", "a", "img"}
_SHOWN_LINKS = ("http:", "https:", "mailto:", "tel:")


def plain_text(html: str) -> str:
    reader, markups = _Reader(), _Markups(html)
    at = 0
    while (markup := markups.after(at)) is not None:
        reader.text(html[at : markup.start()])
        at = markup.end()
        end, name, attributes, _endless = markup.groups("")
        name = name.lower()
        if name not in _KNOWN:
            continue
        if end:
            reader.closed(name)
            continue
        reader.opened(name, attributes)
        if attributes.endswith("/"):
            reader.closed(name)
        elif name in _RAW:
            closing = _RAW[name].search(html, at)
            at = closing.start() if closing else len(html)
    reader.text(html[at:])
    text = "\n".join(line.strip(" \t") for line in "".join(reader.pieces).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", text).strip()


class _Markups:
    """A text's markup, one after the other.

    A `<` whose tag never ends is text. That shows only at the end of the text, so the first such
    makes one look at the whole: it tells of every place whether a tag that goes on there ends.
    """

    def __init__(self, html: str) -> None:
        self._html = html
        self._ends: _Ends | None = None

    def after(self, at: int) -> re.Match[str] | None:
        if self._ends is None:
            found = _MARKUP.search(self._html, at)
            if found is None or found.lastgroup != "endless":
                return found
            self._ends = _Ends(self._html)
            at = found.start()
        for beginning in _BEGINNING.finditer(self._html, at):
            if beginning[0][1] in "!?" or self._ends.at(beginning.end()):
                return _MARKUP.match(self._html, beginning.start())
        return None


class _Ends:
    def __init__(self, html: str) -> None:
        """From behind: at a `>` a tag ends; a quote leads on behind the next of its kind."""
        self._marks = [mark.start() for mark in re.finditer("[\"'>]", html)]
        self._good = bytearray(len(self._marks) + 1)
        next_of: dict[str, int] = {}
        for n in range(len(self._marks) - 1, -1, -1):
            mark = html[self._marks[n]]
            if mark == ">":
                self._good[n] = True
            else:
                if mark in next_of:
                    self._good[n] = self._good[next_of[mark] + 1]
                next_of[mark] = n

    def at(self, place: int) -> bool:
        """Whether a tag that goes on at this place, outside of quotes, comes to its end."""
        return bool(self._good[bisect_left(self._marks, place)])


def _plain(written: str) -> str:
    """Without character references. A number of so many digits is no character, and Python refuses
    to read one of thousands."""
    return unescape(_NUMBER_TOO_LONG.sub("\ufffd", written) if "&#" in written else written)


class _Reader:
    def __init__(self) -> None:
        self.pieces: list[str] = []
        self._hidden = 0
        self._links: list[str] = []

    def opened(self, name: str, attributes: str) -> None:
        if name in _HIDDEN:
            self._hidden += 1
        elif name == "br":
            self.pieces.append("\n")
        elif name in _BLOCKS:
            self.pieces.append("\n\n" if name in _PARAGRAPHS else "\n")
            if name == "li":
                self.pieces.append("- ")
        elif name == "a":
            self._links.append(_value(_HREF, attributes))
        elif name == "img":
            self.pieces.append(_value(_ALT, attributes))
        else:
            self.pieces.append(" ")  # a cell of a table

    def closed(self, name: str) -> None:
        if name in _HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        elif name in _BLOCKS:
            self.pieces.append("\n")
        elif name == "a" and self._links:
            target = self._links.pop()
            if target.startswith(_SHOWN_LINKS):
                self.pieces.append(f" ({target})")

    def text(self, written: str) -> None:
        if written and not self._hidden:
            self.pieces.append(_SPACE.sub(" ", _plain(written)))


def _value(attribute: re.Pattern[str], attributes: str) -> str:
    found = attribute.search(attributes)
    return _plain(found[found.lastindex or 0]) if found else ""
