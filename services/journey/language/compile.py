"""A resolved flow to what the engine runs: flat steps, closures, no trace of the file."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from zoneinfo import ZoneInfo

import msgspec

from services.journey.core import flow as core
from services.journey.language.documents import read_document
from services.journey.language.expressions import constant, expression, segments_in
from services.journey.language.expressions.history import needs
from services.journey.language.model import steps as model
from services.journey.language.model.fields import Located
from services.journey.language.model.journey import Journey
from services.journey.language.model.triggers import (
    AnyTrigger,
    ApiTrigger,
    DateTrigger,
    EventCondition,
    EventTrigger,
    ScheduleTrigger,
    SegmentTrigger,
)
from services.journey.language.problems import Problem
from services.journey.language.resolve import Placed, Resolved, resolve
from services.journey.language.tree import Node, Scalar, data
from shared.errors import ConfigurationError
from shared.ids import derived_id

DEFAULT_GOAL_WINDOW = timedelta(days=5)
"""For a goal without `within`: the usual window of attribution for e-mail."""
CALL_TIMEOUT = timedelta(seconds=10)
"""For a call without `timeout`."""
_WEEKDAYS: tuple[model.Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class JourneyRefused(ConfigurationError):
    """A journey's source does not compile; `problems` says why."""

    code = "invalid_journey"

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("; ".join(f"{p.place}: {p.message}" for p in self.problems))


def compile_journey(source: str, version: int) -> core.Flow:
    """One stored version by itself; raises JourneyRefused.

    What it names outside of itself is not looked at: templates, segments and channels are always
    the newest, and a version that was published goes on whatever became of them.
    """
    found: list[Problem] = []
    document = read_document(Journey, "journey.yaml", source.encode(), found)
    if document is None or not document.whole:
        raise JourneyRefused(found)
    resolved = resolve(document.model, document.problems, segments=None)
    if found:
        raise JourneyRefused(found)
    return compile_flow(resolved, version)


def compile_flow(resolved: Resolved, version: int) -> core.Flow:
    """The flow of a journey that has no problems."""
    return _Compiler(resolved, version).flow()


def _content(placed: Placed) -> str:
    """A digest of what the file says of a step besides its id."""
    written = {name: data(n) for name, n in placed.step.node.items() if name != "id"}
    return derived_id(msgspec.json.encode(written, order="deterministic").decode())


@dataclass(frozen=True, slots=True)
class _Compiler:
    resolved: Resolved
    version: int

    def flow(self) -> core.Flow:
        journey = self.resolved.journey
        steps = {placed.id: self._step(placed) for placed in self.resolved.steps}
        return core.Flow(
            journey=self.resolved.id,
            version=self.version,
            category=journey.category,
            priority=journey.priority,
            triggers=self._triggers(journey),
            entry=self._entry(journey),
            exits=tuple(self._match(each) for each in journey.exit),
            steps=steps,
            first=self.resolved.first,
            title=journey.title.text if journey.title is not None else "",
            goal=self._goal(journey),
            api=isinstance(journey.trigger, ApiTrigger),
            watches=self._watches(journey),
            segments=tuple(
                dict.fromkeys(
                    name
                    for node in self.resolved.expressions.values()
                    for name, _span in segments_in(node)
                )
            ),
            plan=self._plan(journey.trigger),
            needs=tuple(
                need for node in self.resolved.expressions.values() for need in needs(node)
            ),
            named=frozenset(p.id for p in self.resolved.steps if p.step.id is not None),
            contents={placed.id: _content(placed) for placed in self.resolved.steps},
        )

    def _triggers(self, journey: Journey) -> tuple[core.EventMatch, ...]:
        trigger = journey.trigger
        if isinstance(trigger, AnyTrigger):
            return tuple(self._match(each) for each in trigger.any)
        if isinstance(trigger, EventTrigger) and trigger.audience is None:
            return (self._match(trigger),)
        return ()

    def _plan(self, trigger: Located) -> core.Plan | None:
        match trigger:
            case ScheduleTrigger():
                zone = None if trigger.timezone in (None, "customer") else trigger.timezone
                member = self._condition(trigger.segment)
                assert member is not None
                return core.Schedule(
                    trigger.schedule,
                    member,
                    trigger.segment.text,
                    None if zone is None else ZoneInfo(zone),
                    local=trigger.timezone == "customer",
                )
            case DateTrigger():
                date = self._condition(trigger.date)
                assert date is not None
                offset = trigger.offset or timedelta(0)
                return core.OnDate(date, offset, trigger.time, trigger.every is not None)
            case EventTrigger() if trigger.audience is not None:
                condition = self._condition(trigger.audience)
                assert condition is not None
                return core.Audience(self._match(trigger), condition)
        return None

    def _watches(self, journey: Journey) -> core.Watched | None:
        trigger = journey.trigger
        if not isinstance(trigger, SegmentTrigger):
            return None
        return core.Watched(trigger.segment.text, trigger.on)

    def _match(self, condition: EventCondition) -> core.EventMatch:
        return core.EventMatch(condition.event.text, self._condition(condition.where))

    def _entry(self, journey: Journey) -> core.Entry:
        entry = journey.entry
        if entry is None:
            return core.Entry()
        return core.Entry(
            key=self._condition(entry.key),
            when_active=entry.when_active,
            reentry=entry.reentry,
            where=self._condition(entry.where),
            max_age=core.Entry().max_age if entry.max_age is None else entry.max_age,
            holdout=entry.holdout,
        )

    def _condition(self, text: Scalar | None) -> core.Expression | None:
        return None if text is None else expression(text.text, self.resolved.expressions[text])

    def _step(self, placed: Placed) -> core.Step:  # noqa: C901 - one case for each kind of step
        match placed.step:
            case model.Wait(wait=duration):
                return core.Wait(placed.id, placed.next, duration)
            case model.Branch(branch=arms):
                compiled = (
                    core.Arm(self._condition(arm.when if isinstance(arm, model.When) else None), to)
                    for arm, to in zip(arms, placed.firsts, strict=True)
                )
                return core.Branch(placed.id, placed.next, tuple(compiled))
            case model.Send():
                return self._send(placed, placed.step)
            case model.Exit(exit=reason):
                return core.Exit(placed.id, placed.next, reason.text)
            case model.WaitUntil(wait_until=moment):
                return self._wait_until(placed, moment)
            case model.WaitFor(wait_for=awaited):
                then, timed_out = placed.firsts
                matches = self._awaited(awaited)
                return core.WaitFor(
                    placed.id, placed.next, matches, awaited.timeout, then, timed_out
                )
            case model.Split(split=variants):
                chosen = (
                    core.Variant(variant.variant.text, variant.weight, first)
                    for variant, first in zip(variants, placed.firsts, strict=True)
                )
                return core.Split(placed.id, placed.next, tuple(chosen))
            case model.Set(set=values):
                traits = {name.removeprefix("profile."): value for name, value in values.items()}
                return core.Set(placed.id, placed.next, self._values(traits))
            case model.Emit(emit=event, properties=properties):
                return core.Emit(placed.id, placed.next, event.text, self._values(properties))
            case model.CallUrl(call=url, with_=values, timeout=timeout):
                return core.Call(
                    placed.id, placed.next, url, self._values(values), timeout or CALL_TIMEOUT
                )
            case model.Repeat(repeat=rounds):
                (first,) = placed.firsts
                until = self._condition(rounds.until)
                return core.Repeat(placed.id, placed.next, first, rounds.times, rounds.every, until)
        raise AssertionError(f"{placed.step.kind} is refused before")

    def _wait_until(self, placed: Placed, moment: model.Moment) -> core.WaitUntil:
        weekdays = _WEEKDAYS if moment.weekdays is None else moment.weekdays
        return core.WaitUntil(
            placed.id,
            placed.next,
            time=moment.time,
            weekdays=frozenset(_WEEKDAYS.index(day) for day in weekdays),
            date=self._condition(moment.date),
            offset=moment.offset or timedelta(0),
            missing=moment.missing or "skip",
        )

    def _awaited(self, awaited: model.Awaited) -> tuple[core.EventMatch, ...]:
        if awaited.any is not None:
            return tuple(self._match(each) for each in awaited.any)
        assert awaited.event is not None
        return (core.EventMatch(awaited.event.text, self._condition(awaited.where)),)

    def _goal(self, journey: Journey) -> core.Goal | None:
        goal = journey.goal
        if goal is None:
            return None
        within = DEFAULT_GOAL_WINDOW if goal.within is None else goal.within
        return core.Goal((self._match(goal),), within, self._condition(goal.value))

    def _values(self, values: Mapping[str, Node]) -> dict[str, core.Expression]:
        return {name: self._value(value) for name, value in values.items()}

    def _send(self, placed: Placed, step: model.Send) -> core.Send:
        return core.Send(
            placed.id,
            placed.next,
            channels=(step.send.text, *(channel.text for channel in step.else_)),
            template=step.template.text,
            values=self._values(step.with_),
        )

    def _value(self, value: Node) -> core.Expression:
        if isinstance(value, Scalar) and value in self.resolved.expressions:
            return expression(value.text, self.resolved.expressions[value])
        return constant(value.text if isinstance(value, Scalar) else "", data(value))
