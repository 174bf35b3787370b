"""Bytes of a YAML file to the located tree, or to problems.

The tree is built from the parser's events rather than by the library's composer: every limit is
then met where it is passed, whatever the file does (nesting, aliases that explode, size), and the
parser may be the C one where that is installed, which has no limits of its own and is ten times as
fast. Of YAML a workspace needs mappings, lists, text and, sparingly, aliases; tags, merge keys,
directives and several documents are refused with the way to do without them.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceStartEvent,
)

from services.journey.language.problems import Problems, Source, Spot
from services.journey.language.tree import Mapping, Node, Scalar, Sequence
from services.journey.language.yaml_words import reword

try:
    from _ruamel_yaml import CParser
except ImportError:  # another Python than CPython
    CParser = None

MOST_BYTES = 1_000_000
MOST_NODES = 20_000
"""Words, lists and mappings in one file, aliases counted with all that they repeat."""
MOST_DEPTH = 64

_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_LINE_ENDS = str.maketrans({"\x85": " ", "\u2028": " ", "\u2029": " "})
"""Line ends to YAML 1.1 but not to editors; a space keeps every column."""


class _Stop(Exception):
    """A problem past which the file cannot be read; it is already on the list."""


@dataclass(frozen=True, slots=True)
class _Built:
    node: Node
    nodes: int
    depth: int


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet."""

    node: Mapping | Sequence
    anchor: str | None
    nodes: int = 1
    depth: int = 1
    key: Scalar | None = None
    skip: bool = False
    """The key was refused, so its value is read and forgotten."""


def decode(file: str, content: bytes, problems: list[Any]) -> Source | None:
    """The text of a file by lines; None, with a problem added, where it is no readable text."""
    if len(content) > MOST_BYTES:
        found = Problems(Source(file, ()), problems)
        found.add(
            Spot(1, 1),
            f"the file is larger than {MOST_BYTES:,} bytes",
            "split it into several files",
            code="too_large",
        )
        return None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        good = content[: error.start].decode("utf-8-sig", "replace")
        rest = content[error.start :].decode("utf-8", "replace")
        _unreadable(file, good, good + rest, "this is not UTF-8 text", problems)
        return None
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_LINE_ENDS)
    bad = _FORBIDDEN.search(text)
    if bad is not None:
        what = f"a control character (U+{ord(bad[0]):04X}) stands here"
        _unreadable(file, text[: bad.start()], text, what, problems)
        return None
    return Source.of(file, text)


def _unreadable(file: str, before: str, text: str, message: str, problems: list[Any]) -> None:
    lines = before.split("\n")
    Problems(Source.of(file, text), problems).add(
        Spot(len(lines), len(lines[-1]) + 1),
        message,
        "save the file as UTF-8 text",
        code="not_text",
    )


def read_tree(problems: Problems) -> Node | None:
    """The tree of `problems.source`; None, with a problem added, where there is none."""
    before = len(problems.found)
    try:
        return _read(problems, problems.source.lines, pure=False)
    except YAMLError:
        del problems.found[before:]
    # The C parser is there for speed: what it refuses the pure one judges and words.
    lines = list(problems.source.lines)
    while True:
        try:
            return _read(problems, lines, pure=True)
        except YAMLError as error:
            told = [p for p in problems.found[before:] if p.line in problems.unread]
            partly = len(problems.found)
            spot = _report(error, problems)
            if not _put_aside(spot.line, lines, problems):
                return None
            # What this reading had found on its way here the next one finds again.
            problems.found[before:] = told + problems.found[partly:]


_VALUE = re.compile(r"(\s*(?:- +)*\w[\w .-]*:[ \t]+)\S")
_MOST_UNREAD = 20


def _put_aside(line: int, lines: list[str], problems: Problems) -> bool:
    """Whether a value that is no YAML was taken out, so that the rest of the file can be checked.

    `when: "gold" in profile.tags` is such a one: what begins with a quote has to end with it.
    """
    value = _VALUE.match(lines[line - 1]) if line <= len(lines) else None
    if value is None or line in problems.unread or len(problems.unread) == _MOST_UNREAD:
        return False
    lines[line - 1] = value[1] + "x"
    problems.unread.add(line)
    return True


def _read(problems: Problems, lines: Iterable[str], *, pure: bool) -> Node | None:
    reader = _Reader(problems)
    try:
        for event in _events("\n".join(lines), pure=pure):
            reader.take(event)
    except _Stop:
        return None
    if reader.root is None:
        problems.add(Spot(1, 1), "the file is empty", code="empty")
    return reader.root


def _events(text: str, *, pure: bool) -> Iterator[Any]:
    """The parser's events. `YAML.parse` would look for plug-ins in the file system each time."""
    if pure or CParser is None:
        return YAML(typ="safe", pure=True).parse(text)  # type: ignore[no-any-return]
    return iter(CParser(text).get_event, None)


def _report(error: YAMLError, problems: Problems) -> Spot:
    if not isinstance(error, MarkedYAMLError):
        problems.add(Spot(1, 1), "this is not YAML", code="yaml")
        return Spot(1, 1)
    quoted = "quoted scalar" in str(error.context)
    mark = error.context_mark if quoted and error.context_mark else error.problem_mark
    mark = mark or error.context_mark
    spot = Spot(1, 1) if mark is None else Spot(mark.line + 1, mark.column + 1)
    lines = problems.source.lines
    while spot.line > 1 and (spot.line > len(lines) or not lines[spot.line - 1].strip()):
        above = lines[spot.line - 2] if spot.line - 2 < len(lines) else ""
        spot = Spot(spot.line - 1, len(above.rstrip()) + 1)
    message, hint = reword(error, lines[spot.line - 1] if lines else "")
    problems.add(spot, message, hint, code="yaml")
    return spot


_UNKEEPABLE = re.compile("[\0\ud800-\udfff]")


@dataclass(slots=True)
class _Reader:
    problems: Problems
    root: Node | None = None
    open: list[_Open] = field(default_factory=list)
    anchors: dict[str, _Built | None] = field(default_factory=dict)
    """None while the anchor's own node is being read."""
    nodes: int = 0
    documents: int = 0

    def take(self, event: Any) -> None:
        if isinstance(event, ScalarEvent):
            self._tagged(event)
            self._place(_Built(self._scalar(event), 1, 1), event.anchor)
        elif isinstance(event, (MappingStartEvent, SequenceStartEvent)):
            self._tagged(event)
            self._begin(event)
        elif isinstance(event, AliasEvent):
            self._alias(event)
        elif isinstance(event, DocumentStartEvent):
            self._document(event)
        elif self.open and type(event).__name__ in ("MappingEndEvent", "SequenceEndEvent"):
            ended = self.open.pop()
            self._place(_Built(ended.node, ended.nodes, ended.depth), ended.anchor)

    def _scalar(self, event: ScalarEvent) -> Scalar:
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        key = self.open[-1].key if self.open else None
        if key is not None and not event.value and not event.style:
            # The parser finds nothing only at whatever comes next; its place is behind the colon.
            line, column = key.line, key.spot.column + key.spot.length + 1
        if _UNKEEPABLE.search(event.value):
            # A quoted text can spell what the file itself may not contain.
            self._stop(
                _spot(event),
                "this text spells a character that cannot be stored (U+0000, or half of a pair)",
                r"leave out the \0, or the \ud800 to \udfff",
            )
        return Scalar(event.value, event.style or "", line, column, self.problems.source)

    def _begin(self, event: Any) -> None:
        self._key_must_be_text(event)
        spot = _spot(event)
        node = Mapping(spot) if isinstance(event, MappingStartEvent) else Sequence(spot)
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        self.open.append(_Open(node, event.anchor))
        if len(self.open) > MOST_DEPTH:
            self._too_deep(spot)

    def _alias(self, event: AliasEvent) -> None:
        self._key_must_be_text(event, "an alias")
        if event.anchor not in self.anchors:
            self._stop(_spot(event), f"there is no anchor `&{event.anchor}` above this alias")
        built = self.anchors[event.anchor]
        if built is None:
            self._stop(_spot(event), f"`*{event.anchor}` stands within the part that it repeats")
        else:
            self._place(built, None, _spot(event))

    def _place(self, built: _Built, anchor: str | None, at: Spot | None = None) -> None:
        """Puts a finished node where it belongs: root, list item, key or value."""
        self.nodes += built.nodes if at else 1
        if self.nodes > MOST_NODES:
            message = f"the file holds more than {MOST_NODES:,} parts"
            self._stop(at or built.node.spot, message, "split it")
        if len(self.open) + built.depth > MOST_DEPTH + 1:
            self._too_deep(at or built.node.spot)
        if anchor is not None:
            self.anchors[anchor] = built
        if not self.open:
            self.root = built.node
            return
        parent = self.open[-1]
        parent.nodes += built.nodes
        parent.depth = max(parent.depth, built.depth + 1)
        if isinstance(parent.node, Sequence):
            parent.node.append(built.node)
        elif parent.key is None and isinstance(built.node, Scalar):
            parent.key, parent.skip = built.node, not self._good_key(parent.node, built.node)
        elif parent.key is not None:
            if not parent.skip:
                parent.node[parent.key.text] = built.node
            parent.key = None

    def _good_key(self, mapping: Mapping, key: Scalar) -> bool:
        if key.text == "<<" and not key.style:
            self.problems.add(
                key.spot, "merge keys (`<<`) are not used here", "write the fields out", code="yaml"
            )
            return False
        if not key.text:
            self.problems.add(key.spot, "a name is missing before the `:`", code="yaml")
            return False
        if key.text in mapping.keys_at:
            first = mapping.keys_at[key.text]
            self.problems.add(
                key.spot,
                f"`{key.text[:60]}` stands here twice: first in line {first.line}",
                "leave one of them out",
                code="duplicate_key",
            )
            return False
        mapping.keys_at[key.text] = key
        return True

    def _key_must_be_text(self, event: NodeEvent, what: str = "a list or a mapping") -> None:
        if self.open and isinstance(self.open[-1].node, Mapping) and self.open[-1].key is None:
            self._stop(
                _spot(event),
                f"{what} cannot be the name of a field",
                "a text with `{`, `[` or `*` at its beginning needs quotes",
            )

    def _document(self, event: DocumentStartEvent) -> None:
        self.documents += 1
        if self.documents > 1:
            self._stop(
                _spot(event),
                "a second document begins here",
                "one file holds one document: move it to a file of its own",
            )
        if event.version is not None or event.tags:
            lines = enumerate(self.problems.source.lines, 1)
            line = next((n for n, text in lines if text.startswith("%")), 1)
            self._stop(Spot(line, 1), "YAML directives (`%…`) are not used here", "leave it out")

    def _tagged(self, event: Any) -> None:
        if event.tag is not None:
            self.problems.add(
                _spot(event),
                f"YAML tags such as `{event.tag}` are not used here",
                "leave it out; quotes make a text",
                code="yaml",
            )

    def _too_deep(self, spot: Spot) -> None:
        self._stop(spot, f"this is nested more than {MOST_DEPTH} levels deep")

    def _stop(self, spot: Spot, message: str, hint: str = "") -> None:
        self.problems.add(spot, message, hint, code="yaml")
        raise _Stop


def _spot(event: Any) -> Spot:
    return Spot(event.start_mark.line + 1, event.start_mark.column + 1)
