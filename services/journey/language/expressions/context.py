"""What an expression may name where it stands."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from services.journey.language.expressions.shapes import Shape, Shapes

STEP_FIELDS: dict[str, tuple[str, ...]] = {
    "send": ("outcome", "reason", "opened", "clicked"),
    "wait_for": ("outcome", "event"),
    "call": ("outcome", "reason", "response"),
    "split": ("variant",),
}
"""What a step leaves behind, by its kind; the others leave nothing."""

RFM_FIELDS = ("recency", "frequency", "monetary", "segment")


@dataclass(frozen=True, slots=True)
class Context:
    """`place` completes "… is not known in"; `steps` maps ids to kinds."""

    place: str
    roots: frozenset[str]
    steps: Mapping[str, str]
    segments: frozenset[str] | None = None
    """None where the workspace is not at hand, as for one stored version."""
    variables: frozenset[str] = frozenset()
    plan: Shapes | None = None
    """None where there is no tracking plan, or it does not matter yet."""
    held: Mapping[str, Shape | None] = field(default_factory=dict)
    """What the plan says of the event behind `event`, `trigger`, `e` or `steps.<id>.event`."""

    def knowing(self, *variables: str) -> "Context":
        return replace(self, variables=self.variables | set(variables))

    def counting(self, variable: str, event: object) -> "Context":
        """`variable` is an event of this name, which is being counted."""
        inner = self.knowing(variable)
        return replace(inner, held={**self.held, variable: self.shape_of(event)})

    def shape_of(self, event: object) -> Shape | None:
        known = self.plan is not None and isinstance(event, str)
        return self.plan.of((str(event),)) if self.plan is not None and known else None

    def with_segments(self, segments: frozenset[str]) -> "Context":
        return replace(self, segments=segments)


_CUSTOMER = frozenset({"profile", "now", "rfm"})
_ENTRY = _CUSTOMER | {"event", "trigger"}
_RUN = _CUSTOMER | {"trigger", "steps"}


def of_trigger() -> Context:
    return Context("a trigger's `where`", _CUSTOMER | {"event"}, {})


def of_catalog() -> Context:
    return Context(
        "`where` beside an `audience`, whose event belongs to no customer", frozenset({"event"}), {}
    )


def of_audience() -> Context:
    return Context("an audience", _CUSTOMER | {"trigger", "event"}, {})


def of_entry() -> Context:
    return Context("`entry`", _ENTRY, {})


def of_run_event(place: str, steps: Mapping[str, str]) -> Context:
    """A condition on an event that meets a live run: exits, goals, `wait_for`."""
    return Context(place, _RUN | {"event"}, steps)


def of_step(steps: Mapping[str, str], *, after_event: bool) -> Context:
    """A condition or value of a step; `event` is known behind a `wait_for`, in its `then`."""
    return Context("a step", _RUN | {"event"} if after_event else _RUN, steps)


def of_date() -> Context:
    """The date that a trigger counts from: one of the customer's own."""
    return Context("a trigger's `date`", _CUSTOMER, {})


def of_segment() -> Context:
    return Context("a segment", _CUSTOMER, {})
