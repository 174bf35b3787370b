"""The files in `segments/`: their expressions, and that no segment is made of itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.journey.language.check import check_scores
from services.journey.language.compile_segments import SegmentSource
from services.journey.language.documents import Document, read_document
from services.journey.language.expressions import context as contexts
from services.journey.language.expressions import segments_in
from services.journey.language.model.journey import Segment
from services.journey.language.problems import Problem, Spot
from services.journey.language.resolve import read_expression

MOST_LOOK_UPS = 1_000
"""Conditions that one segment may be made of: each reference counts as often as it is written."""


@dataclass(frozen=True, slots=True)
class _Reference:
    segment: str
    spot: Spot


@dataclass(frozen=True, slots=True)
class Segments:
    names: frozenset[str]
    """Of all segments, good or not."""
    sources: Mapping[str, SegmentSource] = field(default_factory=dict)
    """By name; of use where no file has a problem."""


def read_segments(
    files: Mapping[str, bytes], found: list[Problem], *, rfm: bool = True
) -> Segments:
    """All segments; their problems are added to `found`. `rfm`: whether scores are configured."""
    documents: dict[str, Document[Segment]] = {}
    for file, content in files.items():
        document = read_document(Segment, file, content, found)
        if document is None:
            continue
        name = document.model.segment
        if name.line and name.text in documents:
            first = documents[name.text].problems.source.file
            document.problems.add(
                name.spot,
                f"the segment `{name.text}` stands in two files: also in {first}",
                "give one of them another name",
                code="duplicate_id",
            )
        elif name.line:
            documents[name.text] = document
    names = frozenset(documents)
    graph = {name: _check(document, names, rfm) for name, document in documents.items()}
    before = len(found)
    _refuse_circles(graph, documents)
    if len(found) == before:
        _refuse_thickets(graph, documents)
    return Segments(names, {name: _source(document) for name, document in documents.items()})


def _source(document: Document[Segment]) -> SegmentSource:
    title = document.model.title
    return SegmentSource(document.model.where.text, "" if title is None else title.text)


def _check(document: Document[Segment], names: frozenset[str], rfm: bool) -> list[_Reference]:
    text, problems = document.model.where, document.problems
    context = contexts.of_segment().with_segments(names)
    node = read_expression(text, context, problems)
    if node is None:
        return []
    check_scores(text, node, rfm, problems)
    return [_Reference(name, text.spot_of(*span)) for name, span in segments_in(node)]


def _refuse_circles(
    graph: Mapping[str, list[_Reference]], documents: Mapping[str, Document[Segment]]
) -> None:
    """Each segment that leads back to itself is told so at the reference that does."""
    for name, references in graph.items():
        for reference in references:
            way = _way(reference.segment, name, graph)
            if way:
                documents[name].problems.add(
                    reference.spot,
                    "segments go in a circle: " + " → ".join(f"`{s}`" for s in (name, *way)),
                    "take one of the references out",
                    code="circle",
                )


def _refuse_thickets(
    graph: Mapping[str, list[_Reference]], documents: Mapping[str, Document[Segment]]
) -> None:
    """Segments of segments of segments would be looked up again and again at each decision."""
    sizes: dict[str, int] = {}

    def size(name: str) -> int:
        if name not in sizes:
            sizes[name] = 1 + sum(size(reference.segment) for reference in graph.get(name, ()))
        return sizes[name]

    # What refers to a thicket is one, too: it is told when the inner one has been mended.
    for name in sorted(documents, key=size):
        if size(name) > MOST_LOOK_UPS:
            document = documents[name]
            document.problems.add(
                document.model.where.spot,
                f"with all that it refers to, this segment looks up {size(name)} others",
                f"at most {MOST_LOOK_UPS} are allowed: refer to fewer segments",
            )
            return


def _way(start: str, end: str, graph: Mapping[str, list[_Reference]]) -> list[str]:
    """The shortest way from one segment to another, both included; empty if there is none."""
    came_from: dict[str, str | None] = {start: None}
    queue = [start]
    for here in queue:
        if here == end:
            way: list[str] = []
            step: str | None = here
            while step is not None:
                way.insert(0, step)
                step = came_from[step]
            return way
        for reference in graph.get(here, ()):
            if reference.segment not in came_from:
                came_from[reference.segment] = here
                queue.append(reference.segment)
    return []
