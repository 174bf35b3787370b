"""`events.yaml`, the tracking plan: read, and what the workspace asks of events checked against it.

What is not in the plan is a problem where it is enforced, and a warning where it is not.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pydantic import ValidationError

from services.journey.language.documents import read_document
from services.journey.language.expressions import check, parse
from services.journey.language.expressions import context as contexts
from services.journey.language.expressions.checker import Expected
from services.journey.language.expressions.context import Context
from services.journey.language.expressions.kinds import Kind
from services.journey.language.expressions.shapes import Shape, Shapes
from services.journey.language.expressions.syntax import Mistake
from services.journey.language.model import steps as model
from services.journey.language.model.journey import Segment
from services.journey.language.model.reader import add_errors
from services.journey.language.problems import Problem, Problems, Source
from services.journey.language.reading import decode, read_tree
from services.journey.language.resolve import Resolved, event_words, events_of
from services.journey.language.settings import places_of
from services.journey.language.tree import Mapping as Fields
from services.journey.language.tree import Scalar, data
from shared.event import CONSENT_CHANGED, RECEIPTS
from shared.tracking import PropertyType, TrackingPlan

FILE = "events.yaml"

_KINDS: Mapping[PropertyType, Kind] = {
    "text": Kind.TEXT,
    "number": Kind.NUMBER,
    "integer": Kind.NUMBER,
    "boolean": Kind.BOOL,
    "time": Kind.ANY,  # a text that compares with instants
    "list": Kind.LIST,
    "object": Kind.MAP,
}


@dataclass(frozen=True, slots=True)
class Checked:
    """A journey as the plan looks at it, with the source that its problems quote."""

    resolved: Resolved
    source: Source


def read_tracking(files: Mapping[str, bytes], found: list[Problem]) -> TrackingPlan | None:
    """The plan; None where there is no file, or, with problems added, one that cannot be used."""
    if FILE not in files:
        return None
    source = decode(FILE, files[FILE], found)
    if source is None:
        return None
    problems = Problems(source, found)
    tree = read_tree(problems)
    if tree is None:
        return None
    try:
        return TrackingPlan.model_validate(data(tree))
    except ValidationError as error:
        add_errors(error, tree, problems, places_of(tree, TrackingPlan))
        return None


def check_tracking(
    plan: TrackingPlan,
    files: Mapping[str, bytes],
    segments: Iterable[str],
    journeys: Iterable[Checked],
    found: list[Problem],
) -> Shapes:
    """Adds to `found` what the workspace asks of events that the plan does not list; returns what
    it lists.

    `segments` are the paths of the segments' files. An event that a journey emits is known; what
    it holds is, if the plan lists it.
    """
    checked = list(journeys)
    emitted = frozenset(
        placed.step.emit.text
        for journey in checked
        for placed in journey.resolved.steps
        if isinstance(placed.step, model.Emit)
    )
    shapes = Shapes(
        {
            name: {key: _KINDS[each.type] for key, each in event.properties.items()}
            for name, event in plan.events.items()
        },
        (emitted | {CONSENT_CHANGED, *RECEIPTS.values()}) - plan.events.keys(),
    )
    _check_settings(files, shapes, found)
    for path in segments:
        _check_segment(path, files[path], shapes, found)
    for journey in checked:
        _Journey(journey.resolved, Problems(journey.source, found), shapes).check()
    return shapes


def _check_settings(files: Mapping[str, bytes], shapes: Shapes, found: list[Problem]) -> None:
    """What dangol.yaml counts as a purchase."""
    source = decode("dangol.yaml", files.get("dangol.yaml", b""), [])
    if source is None:
        return
    tree = read_tree(Problems(source, []))
    rfm = tree.get("rfm") if isinstance(tree, Fields) else None
    event = rfm.get("event") if isinstance(rfm, Fields) else None
    if not isinstance(rfm, Fields) or not isinstance(event, Scalar):
        return
    problems, value = Problems(source, found), rfm.get("value")
    _check_name(event, shapes, problems)
    shape = shapes.of((event.text,))
    if isinstance(value, Scalar) and shape is not None and shape.kind(value.text) is None:
        problems.add(value.spot, *shape.said(value.text), code="unknown_property")


def _check_segment(path: str, content: bytes, shapes: Shapes, found: list[Problem]) -> None:
    document = read_document(Segment, path, content, [])
    if document is not None:
        problems = Problems(document.problems.source, found)
        _check_text(document.model.where, contexts.of_segment(), shapes, problems)


def _check_name(event: Scalar, shapes: Shapes, problems: Problems) -> None:
    if not shapes.knows(event.text):
        problems.add(event.spot, *shapes.unknown(event.text), code="unknown_event")


def _check_text(
    text: Scalar,
    context: Context,
    shapes: Shapes,
    problems: Problems,
    held: Mapping[str, Shape | None] | None = None,
    expected: Expected = "condition",
) -> None:
    """Checks again, now knowing the plan, what was without a mistake before."""
    node = parse(text.text)
    if isinstance(node, Mistake) or check(node, context, expected):
        return
    for each in check(node, replace(context, plan=shapes, held=held or {}), expected):
        problems.add(text.spot_of(*each.span), each.message, each.hint, code=each.code)


class _Journey:
    def __init__(self, resolved: Resolved, problems: Problems, shapes: Shapes) -> None:
        self._resolved, self._problems, self._shapes = resolved, problems, shapes
        journey = resolved.journey
        self._held = {"trigger": shapes.of(events_of(journey.trigger))}
        self._awaited: tuple[str, ...] = ()
        for placed in resolved.steps:
            if isinstance(placed.step, model.WaitFor):
                events = events_of(placed.step.wait_for)
                self._held[f"steps.{placed.id}"] = shapes.of(events)
                self._awaited += events

    def check(self) -> None:
        for word in self._names():
            _check_name(word, self._shapes, self._problems)
        for asked in self._resolved.asked:
            # In a `then`, `event` is what one of the journey's `wait_for` steps waited for.
            event = self._shapes.of(asked.events or self._awaited)
            held = {**self._held, "event": event}
            _check_text(
                asked.text, asked.context, self._shapes, self._problems, held, asked.expected
            )
        for placed in self._resolved.steps:
            if isinstance(placed.step, model.Emit):
                self._emitted(placed.step)

    def _names(self) -> list[Scalar]:
        journey = self._resolved.journey
        holders: list[object] = [journey.trigger, *journey.exit, journey.goal]
        holders += [
            p.step.wait_for for p in self._resolved.steps if isinstance(p.step, model.WaitFor)
        ]
        return [word for holder in holders for word in event_words(holder)]

    def _emitted(self, step: model.Emit) -> None:
        shape = self._shapes.of((step.emit.text,))
        given = step.node.get("properties")
        if shape is None or not isinstance(given, Fields):
            return
        for name in given:
            if shape.kind(name) is None:
                spot = given.key_spot(name)
                self._problems.add(spot, *shape.said(name), code="unknown_property")
