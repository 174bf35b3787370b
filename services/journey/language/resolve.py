"""A checked journey to a resolved flow: nesting undone, steps named, expressions parsed.

Steps without an `id` are named by kind and place: `send-3` is the third step, a send; behind a
branch that is the fourth step, `wait-4-2-1` is the first step of its second arm (`then` and
`timed_out` are the arms 1 and 2 of a `wait_for`). So the name of a step is stable for as long as
its place and kind are.
"""

import re
from dataclasses import dataclass, field

from services.journey.language.expressions import Mistake, Node, check, parse
from services.journey.language.expressions import context as contexts
from services.journey.language.expressions.checker import Expected
from services.journey.language.expressions.context import Context
from services.journey.language.expressions.functions import FUNCTIONS, QUANTIFIERS
from services.journey.language.expressions.lexer import UNCLOSED
from services.journey.language.model import steps as model
from services.journey.language.model.fields import Located
from services.journey.language.model.journey import Journey
from services.journey.language.model.triggers import (
    AnyTrigger,
    DateTrigger,
    EventCondition,
    EventTrigger,
    ScheduleTrigger,
)
from services.journey.language.problems import Problems
from services.journey.language.tree import Mapping, Scalar, Sequence
from services.journey.language.tree import Node as TreeNode


@dataclass(frozen=True, slots=True)
class Placed:
    """A step with its name and its ways on."""

    id: str
    step: model.BaseStep
    next: str | None
    firsts: tuple[str | None, ...]
    """For each list of steps within it: the first one, or `next` where the list is empty."""
    after_event: bool
    """Whether it stands in a `then`, where `event` is the event that was waited for."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A parsed expression, where it stands."""

    text: Scalar
    node: Node
    context: Context
    expected: Expected
    events: tuple[str, ...]
    """What the event behind `event` may be called; none: there is none, or it may be any."""


@dataclass(slots=True)
class Resolved:
    journey: Journey
    steps: list[Placed] = field(default_factory=list)
    """In the order of the file."""
    expressions: dict[Scalar, Node] = field(default_factory=dict)
    """The conditions, and those values of `with` and the like that are expressions."""
    asked: list[Asked] = field(default_factory=list)
    """The same, with what may be named where they stand."""

    @property
    def first(self) -> str:
        return self.steps[0].id

    @property
    def id(self) -> str:
        return self.journey.journey.text


def resolve(
    journey: Journey,
    problems: Problems,
    segments: frozenset[str] | None,
    whole: TreeNode | None = None,
) -> Resolved:
    """The flow of a journey, with what is wrong with ids and expressions added to `problems`.

    `segments` are the known ones (None: not at hand); `whole` is the tree of a file of which the
    model holds only a part, whose ids count as known, too.
    """
    resolved = Resolved(journey)
    _place(journey.steps, None, (), False, resolved.steps)
    resolved.steps.reverse()
    kinds = _names(resolved, problems)
    known = kinds | ({} if whole is None else dict.fromkeys(_ids(whole), "send"))
    _Expressions(resolved, problems, known, segments).all()
    return resolved


# Names and order -----------------------------------------------------------------------------


def _place(
    steps: tuple[model.Step, ...],
    behind: str | None,
    path: tuple[int, ...],
    after_event: bool,
    placed: list[Placed],
) -> str | None:
    """Places a list of steps, last first and each behind what is in it; names its first."""
    following = behind
    for number in range(len(steps), 0, -1):
        step, here = steps[number - 1], (*path, number)
        name = _id(step, here)
        firsts: list[str | None] = []
        for arm, block in reversed(model.blocks(step)):
            inner = after_event or (isinstance(step, model.WaitFor) and arm == 1)
            # A round of a loop comes back to the loop, which decides whether to go on.
            end = name if isinstance(step, model.Repeat) else following
            firsts.insert(0, _place(block, end, (*here, arm), inner, placed))
        placed.append(Placed(name, step, following, tuple(firsts), after_event))
        following = name
    return following


def _id(step: model.BaseStep, path: tuple[int, ...]) -> str:
    if step.id is not None:
        return step.id.text
    return "-".join((step.kind.replace("_", "-"), *map(str, path)))


def _names(resolved: Resolved, problems: Problems) -> dict[str, str]:
    kinds: dict[str, str] = {}
    lines: dict[str, int] = {}
    for placed in sorted(resolved.steps, key=lambda placed: placed.step.id is None):
        spot = model.key_scalar(placed.step).spot if placed.step.id is None else placed.step.id.spot
        if placed.id in kinds and spot.line and lines[placed.id]:
            problems.add(
                spot,
                f"the step id `{placed.id}` stands here twice: first in line {lines[placed.id]}",
                "give one of them another id",
                code="duplicate_id",
            )
        else:
            kinds[placed.id] = placed.step.kind
            lines[placed.id] = spot.line
    return kinds


def _ids(tree: TreeNode) -> set[str]:
    """Every `id` in a tree, whatever it belongs to."""
    found: set[str] = set()
    if isinstance(tree, Mapping):
        identifier = tree.get("id")
        if isinstance(identifier, Scalar):
            found.add(identifier.text)
        for value in tree.values():
            found |= _ids(value)
    elif isinstance(tree, Sequence):
        for item in tree:
            found |= _ids(item)
    return found


# Expressions ---------------------------------------------------------------------------------

_LOOKS_LIKE_ONE = re.compile(
    r"\s*(?:(?:event|trigger|profile|steps|rfm)\s*[.\[]"
    r"|now\s*(?:[-+]|$)"
    rf"|(?:{'|'.join((*FUNCTIONS, *QUANTIFIERS))})\s*\()"
)


def is_expression(node: TreeNode) -> bool:
    """Whether a value of `with`, `set` or `properties` is an expression rather than a text.

    Unquoted text is one where it begins with a name of the language (`trigger.price`, `now - "7d"`,
    `lower(…)`); everything else, and whatever is quoted, stands for itself.
    """
    return isinstance(node, Scalar) and not node.style and bool(_LOOKS_LIKE_ONE.match(node.text))


class _Expressions:
    """Walks a journey's fields that are expressions, each with the names it may use."""

    def __init__(
        self,
        resolved: Resolved,
        problems: Problems,
        kinds: dict[str, str],
        segments: frozenset[str] | None,
    ) -> None:
        self._resolved = resolved
        self._problems = problems
        self._kinds = kinds
        self._segments = segments

    def all(self) -> None:
        journey = self._resolved.journey
        self._trigger(journey.trigger)
        entry = contexts.of_entry()
        if journey.entry is not None:
            begun = events_of(journey.trigger)
            self._read(journey.entry.key, entry, "value", begun)
            self._read(journey.entry.where, entry, events=begun)
        run = contexts.of_run_event("`exit`", self._kinds)
        for each in journey.exit:
            self._read(each.where, run, events=events_of(each))
        if journey.goal is not None:
            goal = contexts.of_run_event("`goal`", self._kinds)
            self._read(journey.goal.where, goal, events=events_of(journey.goal))
            self._read(journey.goal.value, goal, "number", events_of(journey.goal))
        for placed in self._resolved.steps:
            self._step(placed)

    def _trigger(self, trigger: Located) -> None:
        if isinstance(trigger, EventTrigger) and trigger.audience is not None:
            self._read(trigger.where, contexts.of_catalog(), events=events_of(trigger))
            self._read(trigger.audience, contexts.of_audience(), events=events_of(trigger))
        elif isinstance(trigger, (EventTrigger, AnyTrigger)):
            self._events(trigger, contexts.of_trigger())
        if isinstance(trigger, ScheduleTrigger):
            self._resolved.expressions[trigger.segment] = membership(trigger.segment.text)
        if isinstance(trigger, DateTrigger):
            self._read(trigger.date, contexts.of_date(), "value")

    def _events(self, holder: Located, context: Context) -> None:
        several: tuple[EventCondition, ...] = getattr(holder, "any", None) or ()
        for each in (holder, *several):
            self._read(getattr(each, "where", None), context, events=events_of(each))

    def _step(self, placed: Placed) -> None:
        context = contexts.of_step(self._kinds, after_event=placed.after_event)
        match placed.step:
            case model.Branch(branch=arms):
                for arm in arms:
                    if isinstance(arm, model.When):
                        self._read(arm.when, context)
            case model.WaitFor(wait_for=awaited):
                event = contexts.of_run_event("`wait_for`", self._kinds)
                self._events(awaited, event)
            case model.WaitUntil(wait_until=moment):
                self._read(moment.date, context, "value")
            case model.Repeat(repeat=rounds):
                self._read(rounds.until, context)
            case model.Send(with_=values) | model.CallUrl(with_=values):
                self._values(values, context)
            case model.Set(set=values) | model.Emit(properties=values):
                self._values(values, context)

    def _values(self, values: dict[str, TreeNode], context: Context) -> None:
        for value in values.values():
            if isinstance(value, Scalar) and is_expression(value):
                self._read(value, context, "value")

    def _read(
        self,
        text: Scalar | None,
        context: Context,
        expected: Expected = "condition",
        events: tuple[str, ...] = (),
    ) -> None:
        if text is None:
            return
        context = self._with_segments(context)
        node = read_expression(text, context, self._problems, expected)
        if node is not None:
            self._resolved.expressions[text] = node
            self._resolved.asked.append(Asked(text, node, context, expected, events))

    def _with_segments(self, context: Context) -> Context:
        return context if self._segments is None else context.with_segments(self._segments)


def event_words(holder: object) -> tuple[Scalar, ...]:
    """The names of the events that a trigger, an exit, a goal or a `wait_for` listens to."""
    several: tuple[EventCondition, ...] = getattr(holder, "any", None) or ()
    words = [getattr(each, "event", None) for each in (holder, *several)]
    return tuple(word for word in words if isinstance(word, Scalar))


def events_of(holder: object) -> tuple[str, ...]:
    return tuple(word.text for word in event_words(holder))


def membership(segment: str) -> Node:
    """The condition `in_segment("…")`."""
    quoted = segment.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    node = parse(f'in_segment("{quoted}")')
    assert not isinstance(node, Mistake), "a word in quotes is a text"
    return node


def read_expression(
    text: Scalar, context: Context, problems: Problems, expected: Expected = "condition"
) -> Node | None:
    """The parsed expression; None where it has a mistake, which is added to `problems`."""
    parsed = parse(text.text)
    mistakes = [parsed] if isinstance(parsed, Mistake) else check(parsed, context, expected)
    for mistake in mistakes:
        spot = text.spot_of(*mistake.span)
        hint = mistake.hint
        if mistake.message == UNCLOSED and _cut_by_comment(text, problems):
            hint = "` #` begins a comment: put the whole condition in quotes"
        problems.add(spot, mistake.message, hint, code=mistake.code)
    return None if mistakes or isinstance(parsed, Mistake) else parsed


def _cut_by_comment(text: Scalar, problems: Problems) -> bool:
    """Whether the line of an unquoted text goes on with a comment."""
    end = text.spot_of(len(text.text) - 1, len(text.text))
    if text.style or not end.line:
        return False
    return problems.source.lines[end.line - 1][end.column :].lstrip().startswith("#")
