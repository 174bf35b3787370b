"""A compiled flow, nested again: what a picture of it is made from.

The flow that the engine runs is flat (`core/flow.py`); a reader sees sequences, forks whose arms
come together again, and loops. The chart is made from the flow and not from the file, so that the
picture shows what runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from services.console.graph.wording import Language, Names, Shape, describe, trigger_lines
from services.journey.core.flow import Branch, Exit, Flow, Repeat, Split, Step, WaitFor


@dataclass(frozen=True, slots=True)
class Counts:
    """What one step has counted: runs that came to it, and those that wait there now."""

    reached: int = 0
    here: int | None = None
    """None where it is not known."""


@dataclass(frozen=True, slots=True)
class Box:
    id: str
    shape: Shape
    lines: tuple[str, ...]
    counts: Counts | None = None


@dataclass(frozen=True, slots=True)
class Arm:
    label: str
    body: "Sequence"


@dataclass(frozen=True, slots=True)
class Fork:
    """A box whose arms stand side by side and come together behind it."""

    box: Box
    arms: tuple[Arm, ...]


@dataclass(frozen=True, slots=True)
class Loop:
    """A box whose body leads back to it."""

    box: Box
    body: "Sequence"
    label: str


@dataclass(frozen=True, slots=True)
class Sequence:
    items: tuple[Box | Fork | Loop, ...]
    ends: bool = False
    """Nothing comes behind it: its last step ends the run."""


@dataclass(frozen=True, slots=True)
class Chart:
    title: str
    start: Box
    body: Sequence
    end: Box


def chart_of(
    flow: Flow, language: Language = "en", counts: Mapping[str, Counts] | None = None
) -> Chart:
    """`counts` by step id; without them the picture shows none."""
    drawing = _Drawing(flow, Names.of(language), counts)
    start = Box("start", "start", trigger_lines(flow, drawing.names))
    body = drawing.sequence(flow.first, None)
    return Chart(flow.title or flow.journey, start, body, Box("end", "end", (drawing.names.end,)))


@dataclass(frozen=True, slots=True)
class _Drawing:
    flow: Flow
    names: Names
    counts: Mapping[str, Counts] | None

    def sequence(self, place: str | None, behind: str | None) -> Sequence:
        """From a step to the one that stands behind all of it."""
        items: list[Box | Fork | Loop] = []
        while place is not None and place != behind:
            step = self.flow.steps[place]
            item = self._item(step)
            items.append(item)
            if isinstance(step, Exit) or (
                isinstance(item, Fork) and all(arm.body.ends for arm in item.arms)
            ):
                return Sequence(tuple(items), ends=True)
            place = step.next
        return Sequence(tuple(items))

    def _item(self, step: Step) -> Box | Fork | Loop:
        box, names = self._box(step), self.names
        match step:
            case Branch(arms=arms, next=behind):
                drawn = [
                    Arm(
                        names.otherwise if arm.when is None else arm.when.source,
                        self.sequence(arm.first, behind),
                    )
                    for arm in arms
                ]
                if arms[-1].when is not None:
                    drawn.append(Arm(names.none_holds, Sequence(())))
                return Fork(box, tuple(drawn))
            case Split(variants=variants, next=behind):
                total = sum(variant.weight for variant in variants)
                return Fork(
                    box,
                    tuple(
                        Arm(f"{v.name} · {v.weight / total:.0%}", self.sequence(v.first, behind))
                        for v in variants
                    ),
                )
            case WaitFor(then=then, timed_out=timed_out, next=behind):
                return Fork(
                    box,
                    (
                        Arm(names.came, self.sequence(then, behind)),
                        Arm(names.timed_out, self.sequence(timed_out, behind)),
                    ),
                )
            case Repeat(first=first):
                return Loop(box, self.sequence(first, step.id), names.again)
        return box

    def _box(self, step: Step) -> Box:
        shape, lines = describe(step, self.names)
        counted = None if self.counts is None else self.counts.get(step.id, Counts())
        return Box(step.id, shape, lines, counted)
