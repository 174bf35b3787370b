"""The lines of a file as events: NDJSON as SDKs write them, CSV by the names of its columns.

A column is named for where its value goes: `userId`, `anonymousId`, `event`, `timestamp`,
`messageId`, `consent_source`, `consent.<channel>`, `traits.<name>`, `properties.<name>`. Any other
is a property of a row with an event, and a trait of one without. Values are text, unless the name
ends in `:number`, `:boolean` or `:json`; an empty cell says nothing.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

from services.ingest.limits import MAX_EVENT_BYTES
from services.ingest.normalise import Scene
from services.ingest.protocol import open_parcel, read
from shared.errors import BadInput

_PLACES = frozenset(
    {"userId", "anonymousId", "messageId", "event", "timestamp", "type", "previousId", "groupId"}
)
_TRUE = frozenset({"true", "yes", "y", "1"})
_FALSE = frozenset({"false", "no", "n", "0"})
_LONGEST_LINE = 4 * MAX_EVENT_BYTES


@dataclass(frozen=True, slots=True)
class Row:
    line: int
    """Where it begins, from 1."""
    last: int
    """The line in which it ends."""
    end: int
    """Bytes of the file up to behind it."""
    event: bytes = b""
    """JSON of one event with a messageId; empty if it cannot be used."""
    error: str = ""
    content: str = ""
    """What stands there, of one that cannot be used."""


def rows_of(
    file: Path, names: Mapping[str, str], scene: Scene, *, offset: int = 0, line: int = 0
) -> Iterator[Row]:
    """From behind `offset` bytes and `line` lines on. `names` renames columns.

    Raises BadInput for a file that cannot be read at all.
    """
    is_csv = file.suffix.lower() == ".csv"
    try:
        with file.open("rb") as opened:
            lines = _Lines(opened)
            if is_csv:
                header = _header(lines, names)
                lines.skip_to(offset, line)
                yield from _csv(lines, header, scene)
            else:
                lines.skip_to(offset, line)
                yield from _ndjson(lines, scene)
    except OSError as error:
        raise BadInput(f"cannot read {file}: {error.strerror}") from error


class _Lines:
    """Lines as text, with how far they have been read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.end = 0
        self.line = 0

    def skip_to(self, offset: int, line: int) -> None:
        if offset > self.end:
            self._file.seek(offset)
            self.end, self.line = offset, line

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        raw = self._file.readline(_LONGEST_LINE)
        if not raw:
            raise StopIteration
        size = len(raw)
        while not raw.endswith(b"\n") and (more := self._file.readline(_LONGEST_LINE)):
            size += len(more)  # too long to be used, and not kept
            if more.endswith(b"\n"):
                break
        self.end += size
        self.line += 1
        return raw.decode("utf-8-sig" if self.line == 1 else "utf-8", "replace")


def _ndjson(lines: _Lines, scene: Scene) -> Iterator[Row]:
    for text in lines:
        place = (lines.line, lines.line, lines.end)
        if not text.strip():
            continue
        try:
            document = json.loads(text)
        except ValueError as error:
            yield Row(*place, error=f"no JSON: {error}", content=text.rstrip())
        except RecursionError:
            yield Row(*place, error="too_deep", content=text.rstrip())
        else:
            yield _row(document, text.rstrip("\r\n"), place, scene)


def _header(lines: _Lines, names: Mapping[str, str]) -> list[str]:
    told = [column.strip() for column in next(csv.reader(lines), [])]
    if not told:
        raise BadInput("the file is empty", hint="the first line of a CSV file names its columns")
    missing = [old for old in names if old not in told]
    if missing:
        raise BadInput(f"there is no column `{missing[0]}`", hint="the first line names them")
    header = [names.get(column, column) for column in told]
    if not {"userId", "anonymousId"} & set(header):
        raise BadInput(
            "no column says who it is about",
            hint="name one `userId` (or `anonymousId`), or rename it: --column number=userId",
        )
    twice = [column for column in header if column and header.count(column) > 1]
    if twice:
        raise BadInput(f"two columns are called `{twice[0]}`")
    return header


def _csv(lines: _Lines, header: Sequence[str], scene: Scene) -> Iterator[Row]:
    reader = csv.reader(lines)
    while True:
        first = lines.line + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield Row(first, lines.line, lines.end, error=f"no CSV: {error}")
            continue
        if cells is None:
            return
        if not any(cells):
            continue
        content = ",".join(cells)
        try:
            document = _document(header, cells)
        except ValueError as error:
            yield Row(first, lines.line, lines.end, error=str(error), content=content)
            continue
        place = (first, lines.line, lines.end)
        yield _row(document, json.dumps(document, sort_keys=True), place, scene, content)


def _document(header: Sequence[str], cells: Sequence[str]) -> dict[str, Any]:
    """Raises ValueError with what is wrong."""
    if len(cells) > len(header):
        raise ValueError(f"{len(cells)} cells, but only {len(header)} columns have a name")
    document: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {"traits": {}, "properties": {}, "consent": {}, "": {}}
    for column, cell in zip(header, cells, strict=False):
        if not column or not cell.strip():
            continue
        name, value = _value(column, cell)
        group, _, rest = name.partition(".")
        if name in _PLACES:
            document[name] = value
        elif name == "consent_source":
            document["context"] = {name: value}
        elif rest and group in groups:
            groups[group][rest] = _boolean(column, cell) if group == "consent" else value
        else:
            groups[""][name] = value
    return _whole(document, groups)


def _whole(document: dict[str, Any], groups: dict[str, dict[str, Any]]) -> dict[str, Any]:
    is_track = "event" in document
    groups["properties" if is_track else "traits"].update(groups[""])
    if groups["consent"]:
        groups["traits"]["consent"] = groups["consent"]
    if is_track and groups["traits"]:
        raise ValueError("a row with an event has no traits: give them rows of their own")
    document.setdefault("type", "track" if is_track else "identify")
    for name in ("traits", "properties"):
        if groups[name]:
            document[name] = groups[name]
    return document


def _value(column: str, cell: str) -> tuple[str, Any]:
    name, _, kind = column.rpartition(":")
    if not name or kind not in ("number", "boolean", "json", "text"):
        return column, cell
    try:
        match kind:
            case "number":
                return name, float(cell) if not cell.strip().lstrip("-").isdecimal() else int(cell)
            case "boolean":
                return name, _boolean(column, cell)
            case "json":
                return name, json.loads(cell)
    except ValueError:
        raise ValueError(f"`{cell[:60]}` in the column `{column}` is no {kind}") from None
    return name, cell


def _boolean(column: str, cell: str) -> bool:
    word = cell.strip().lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise ValueError(f"`{cell[:60]}` in the column `{column}` is neither true nor false")


def _row(
    document: Any,
    text: str,
    place: tuple[int, int, int],
    scene: Scene,
    content: str | None = None,
) -> Row:
    """Held to what the server will say, so that what it would set aside is told with its line."""
    shown = text if content is None else content
    if isinstance(document, dict) and not document.get("messageId"):
        digest = blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()
        document = {**document, "messageId": f"import:{digest}"}
    try:
        event = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(
            "utf-8", "replace"
        )
        reading = read(open_parcel(b'{"batch":[' + event + b"]}"), scene)
    except (BadInput, RecursionError) as error:
        return Row(*place, error=str(error) or "too_deep", content=shown)
    if reading.refused:
        return Row(*place, error=str(reading.refused[0].reason), content=shown)
    return Row(*place, event)
