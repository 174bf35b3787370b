"""A first tracking plan, drafted from the stored history: what came, of which type, how often."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from shared.db.connect import Connection, unavailable_when_lost
from shared.tracking import PropertyType

MOST_EVENTS = 500
MOST_PROPERTIES = 100
"""Of one event: whatever has more has keys that are data."""

_EVENTS = """
SELECT name, count(*) AS n FROM history WHERE kind = 'track' AND received_at >= $1
GROUP BY name ORDER BY n DESC, name LIMIT $2
"""
_PROPERTIES = r"""
SELECT h.name, p.key, jsonb_typeof(p.value) AS type, count(*) AS n,
  count(*) FILTER (WHERE jsonb_typeof(p.value) = 'number' AND p.value::text !~ '\.') AS whole,
  count(*) FILTER (WHERE jsonb_typeof(p.value) = 'string' AND p.value #>> '{}'
    ~ ('^\d{4}-(0\d|1[0-2])-([0-2]\d|3[01])'
      || '([T ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)?)?$')
  ) AS times
FROM history h, jsonb_each(CASE jsonb_typeof(h.event->'properties')
  WHEN 'object' THEN h.event->'properties' END) p
WHERE h.kind = 'track' AND h.received_at >= $1 AND h.name = ANY($2::text[])
  AND jsonb_typeof(p.value) <> 'null'
GROUP BY 1, 2, 3
"""
_TYPES: Mapping[str, PropertyType] = {
    "string": "text",
    "number": "number",
    "boolean": "boolean",
    "array": "list",
    "object": "object",
}


@dataclass(slots=True)
class SeenProperty:
    types: dict[PropertyType, int] = field(default_factory=dict)
    """How often it came with each."""

    @property
    def count(self) -> int:
        return sum(self.types.values())

    @property
    def type(self) -> PropertyType:
        """The commonest; between two, the one that takes both."""
        return max(sorted(self.types), key=lambda each: (self.types[each], each))


@dataclass(slots=True)
class SeenEvent:
    name: str
    count: int
    properties: dict[str, SeenProperty] = field(default_factory=dict)


async def seen_events(connection: Connection, since: datetime) -> list[SeenEvent]:
    """What was received since then, the commonest first. Raises Unavailable."""
    async with unavailable_when_lost():
        rows = await connection.fetch(_EVENTS, since, MOST_EVENTS)
        events = {row["name"]: SeenEvent(row["name"], row["n"]) for row in rows}
        for row in await connection.fetch(_PROPERTIES, since, list(events)):
            seen = events[row["name"]].properties.setdefault(row["key"], SeenProperty())
            kind = _TYPES[row["type"]]
            if row["whole"] == row["n"]:
                kind = "integer"
            elif row["times"] == row["n"]:
                kind = "time"
            seen.types[kind] = seen.types.get(kind, 0) + row["n"]
    return list(events.values())


def draft(events: Sequence[SeenEvent], since: str) -> str:
    """The text of an events.yaml. Pure."""
    lines = [
        f"# Drafted from the events of the last {since}. Look through it: what came is not always",
        "# what was meant. `warn` counts what breaks the plan, `enforce` also sets it aside.",
        "mode: warn",
        "events:" if events else "events: {}",
    ]
    for event in events:
        lines += _event_lines(event)
    return "\n".join(lines) + "\n"


def _event_lines(event: SeenEvent) -> Iterator[str]:
    named = f"  {_word(event.name)}:"
    often = f"  # {event.count:,} event{'' if event.count == 1 else 's'}"
    if not event.properties:
        yield f"{named} {{}}{often}"
        return
    yield named + often
    yield "    properties:"
    common = sorted(event.properties.items(), key=lambda item: (-item[1].count, item[0]))
    for name, seen in common[:MOST_PROPERTIES]:
        yield f"      {_word(name)}: {_said(seen, event.count)}"
    if len(common) > MOST_PROPERTIES:
        yield f"      # and {len(common) - MOST_PROPERTIES} more, which are left out"


def _said(seen: SeenProperty, events: int) -> str:
    notes = []
    required = seen.count >= events
    if not required:
        notes.append(f"in {_share(seen.count, events)}")
    if len(seen.types) > 1:
        by_count = sorted(seen.types.items(), key=lambda item: (-item[1], item[0]))
        notes.append(", ".join(f"{kind} {_share(n, seen.count)}" for kind, n in by_count))
    what = f"{{type: {seen.type}, required: true}}" if required else seen.type
    return what + (f"  # {'; '.join(notes)}" if notes else "")


def _share(part: int, whole: int) -> str:
    """Never 100% of what is not all, nor 0% of what is something."""
    return f"{min(max(round(100 * part / whole), 1), 99)}%"


_PLAIN = re.compile(r"[^\W\d_]\w*(?:[ -]\w+)*")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


def _word(text: str) -> str:
    """As YAML writes it, whatever it is."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS and text.isprintable():
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())
