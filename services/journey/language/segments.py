"""The files in `segments/`: their expressions, and that no segment is made of itself."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from services.journey.language import release
from services.journey.language.documents import Document, read_document
from services.journey.language.expressions import Call, Node
from services.journey.language.expressions import context as contexts
from services.journey.language.expressions.syntax import Constant
from services.journey.language.model.journey import Segment
from services.journey.language.problems import Problem, Spot
from services.journey.language.resolve import read_expression


@dataclass(frozen=True, slots=True)
class _Reference:
    segment: str
    spot: Spot


def read_segments(files: Mapping[str, bytes], found: list[Problem]) -> frozenset[str]:
    """The names of all segments, good or not; their problems are added to `found`."""
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
    graph = {name: _check(document, names) for name, document in documents.items()}
    _refuse_circles(graph, documents)
    return names


def _check(document: Document[Segment], names: frozenset[str]) -> list[_Reference]:
    text, problems = document.model.where, document.problems
    if document.model.segment.line:
        release.not_yet(problems, document.model.node.key_spot("segment"), "segment")
    context = contexts.of_segment().with_segments(names)
    node = read_expression(text, context, problems)
    if node is None:
        return []
    return [_Reference(call[0], text.spot_of(*call[1])) for call in _calls(node)]


def _calls(node: Node) -> Iterator[tuple[str, tuple[int, int]]]:
    if isinstance(node, Call) and node.function == "in_segment" and node.arguments:
        name = node.arguments[0]
        if isinstance(name, Constant) and isinstance(name.value, str):
            yield name.value, name.span
    for child in node.children():
        yield from _calls(child)


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
