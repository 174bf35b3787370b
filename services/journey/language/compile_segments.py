"""The sources of segments to what the engine asks: conditions, and what can change them."""

import contextlib
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from services.journey.core.flow import Flow, Need, Scope, Segment
from services.journey.language.expressions import (
    Mistake,
    Node,
    Path,
    check,
    expression,
    parse,
    segments_in,
)
from services.journey.language.expressions import context as contexts
from services.journey.language.expressions.history import needs
from services.journey.language.expressions.times import next_change
from shared.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class SegmentSource:
    """What is stored of a segment when it is published."""

    where: str
    title: str = ""


def stored_sources(sources: Mapping[str, SegmentSource]) -> dict[str, dict[str, str]]:
    """As a revision keeps them."""
    return {name: {"where": s.where, "title": s.title} for name, s in sources.items()}


def read_sources(stored: Mapping[str, Mapping[str, str]]) -> dict[str, SegmentSource]:
    return {name: SegmentSource(**kept) for name, kept in stored.items()}


def parse_segments(sources: Mapping[str, SegmentSource]) -> dict[str, Node]:
    """Name → checked expression, those that are referred to before those that refer to them.

    Raises ConfigurationError: what has been published is free of mistakes.
    """
    names = frozenset(sources)
    nodes = {name: _parse(name, source, names) for name, source in sources.items()}
    ordered: dict[str, Node] = {}
    for name in nodes:
        _order(name, nodes, ordered)
    return ordered


def _parse(name: str, source: SegmentSource, names: frozenset[str]) -> Node:
    node = parse(source.where)
    context = contexts.of_segment().with_segments(names)
    mistakes = [node] if isinstance(node, Mistake) else check(node, context, "condition")
    if isinstance(node, Mistake) or mistakes:
        raise ConfigurationError(
            f"the segment `{name}` was stored and does not compile: {mistakes[0].message}",
            hint="apply a mended workspace",
        )
    return node


def sound_sources(stored: Mapping[str, Mapping[str, str]]) -> dict[str, SegmentSource]:
    """Those that can be compiled: neither damaged themselves nor referring to one that is."""
    sound: dict[str, SegmentSource] = {}
    for name, kept in stored.items():
        with contextlib.suppress(TypeError):
            sound[name] = SegmentSource(**kept)
    while True:
        left = {name: s for name, s in sound.items() if _is_sound(name, s, frozenset(sound))}
        if len(left) == len(sound):
            return sound
        sound = left


def _is_sound(name: str, source: SegmentSource, names: frozenset[str]) -> bool:
    try:
        _parse(name, source, names)
    except Exception:  # noqa: BLE001 - whatever is wrong with it is so with it alone
        return False
    return True


def _order(name: str, nodes: Mapping[str, Node], ordered: dict[str, Node]) -> None:
    if name not in ordered:
        for referred, _span in segments_in(nodes[name]):
            _order(referred, nodes, ordered)
        ordered[name] = nodes[name]


def compile_segments(sources: Mapping[str, SegmentSource]) -> dict[str, Segment]:
    """All segments of one revision. Raises ConfigurationError."""
    made: dict[str, Segment] = {}
    for name, node in parse_segments(sources).items():
        made[name] = _compile(name, sources[name], node, made)
    return made


def _compile(name: str, source: SegmentSource, node: Node, made: Mapping[str, Segment]) -> Segment:
    referred = [made[each] for each in dict.fromkeys(name for name, _ in segments_in(node))]
    own = tuple(needs(node))
    change = next_change(node, {each.name for each in referred if each.timed})
    digest = hashlib.sha256(source.where.encode())
    for each in sorted(referred, key=lambda segment: segment.name):
        digest.update(f"\n{each.name} {each.digest}".encode())
    return Segment(
        name=name,
        condition=expression(source.where, node),
        digest=digest.hexdigest(),
        events=frozenset().union((need.event for need in own), *(s.events for s in referred)),
        profile=any(each.profile for each in referred) or _reads_customer(node),
        timed=change is not None,
        next_change=change or _never,
        needs=own,
        segments=tuple(each.name for each in referred),
        title=source.title,
    )


def _never(_scope: Scope) -> datetime | None:
    return None


def needs_of_all(flows: Iterable[Flow], segments: Mapping[str, Segment]) -> list[Need]:
    """What flows, and the segments that they watch or ask of, want of the history."""
    found: list[Need] = []
    waiting: list[str] = []
    for flow in flows:
        found += flow.needs
        waiting += flow.segments
        if flow.watches is not None:
            waiting.append(flow.watches.segment)
    used: set[str] = set()
    while waiting:
        segment = segments.get(waiting.pop())
        if segment is not None and segment.name not in used:
            used.add(segment.name)
            found += segment.needs
            waiting += segment.segments
    return found


def _reads_customer(node: Node) -> bool:
    if isinstance(node, Path) and node.root in ("profile", "rfm"):
        return True
    return any(_reads_customer(child) for child in node.children())
