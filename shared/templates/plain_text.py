"""The text part of an HTML mail, for readers that show none: blocks to lines, links kept.

Every mail has one made of what it says, so this runs for each. A parser of HTML calls back for
every tag and takes its attributes apart; a mail has hundreds, and two kinds of them matter.
"""

import re
from html import unescape

# A comment, a declaration, or a tag with its name and what follows it. Nothing is tried twice.
_MARKUP = re.compile(
    r"<(?:!--.*?(?:-->|\Z)|[!?][^>]*+(?:>|\Z)"
    r"|(/?)([A-Za-z][^\s/>]*+)((?:[^\"'>]++|\"[^\"]*+\"|'[^']*+')*+)>)",
    re.DOTALL,
)
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
    reader = _Reader()
    at = 0
    while (markup := _MARKUP.search(html, at)) is not None:
        reader.text(html[at : markup.start()])
        at = markup.end()
        end, name, attributes = markup.groups("")
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
    text = re.sub(r"[ \t]*\n[ \t]*", "\n", "".join(reader.pieces))
    return re.sub(r"\n{3,}", "\n\n", text).strip()


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
            self.pieces.append(_SPACE.sub(" ", unescape(written)))


def _value(attribute: re.Pattern[str], attributes: str) -> str:
    found = attribute.search(attributes)
    return unescape(found[found.lastindex or 0]) if found else ""
