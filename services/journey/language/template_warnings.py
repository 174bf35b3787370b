"""Names in templates that hold nothing: they render empty, which is rarely what was meant.

A warning refuses nothing: what a profile or an event holds cannot be known.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from services.journey.core.flow import Audience, Flow, Send
from services.journey.language.expressions.shapes import Shape, Shapes
from services.journey.language.problems import Problem, Problems, Source, Spot, nearest
from shared.templates import Template
from shared.templates.names import FIELDS, KNOWN


@dataclass(slots=True)
class _Use:
    """What the journeys that send a template hand to it."""

    names: set[str] = field(default_factory=set)
    steps: set[str] = field(default_factory=set)
    events: set[str] = field(default_factory=set)
    """What the event that began the run may be called."""
    open: bool = False
    """Whether something else than an event may have begun it."""


def template_warnings(
    files: Mapping[str, bytes],
    templates: Iterable[Template],
    flows: Iterable[Flow],
    shapes: Shapes | None = None,
) -> tuple[Problem, ...]:
    """By file and place; `files` is the workspace, of good templates; `shapes` are of its tracking
    plan.
    """
    uses = _uses(flows)
    found: list[Problem] = []
    for template in templates:
        path = template.name.path
        problems = Problems(Source.of(path, files[path].decode("utf-8-sig")), found)
        use = uses.get(template.name.name)
        _check(template, use, problems)
        if shapes is not None and use is not None and not use.open:
            _check_trigger(template, shapes.of(sorted(use.events)), problems)
    return tuple(sorted(found))


def _uses(flows: Iterable[Flow]) -> dict[str, _Use]:
    uses: dict[str, _Use] = {}
    for flow in flows:
        for step in flow.steps.values():
            if isinstance(step, Send):
                use = uses.setdefault(step.template, _Use())
                use.names.update(step.values)
                use.steps.update(flow.steps)
                use.steps.update(name.replace("-", "_") for name in flow.steps)
                begun = _begun(flow)
                use.events |= begun
                use.open |= not begun
    return uses


def _begun(flow: Flow) -> set[str]:
    """The names of the events that begin it; empty for a journey that something else begins."""
    if isinstance(flow.plan, Audience):
        return {flow.plan.match.event}
    return {match.event for match in flow.triggers}


def _check_trigger(template: Template, shape: Shape | None, problems: Problems) -> None:
    """`trigger.x` of which the tracking plan says that there is none."""
    for variable in template.variables if shape is not None else ():
        root, *inner = variable.path or ("",)
        if root == "trigger" and inner and shape is not None and shape.kind(inner[0]) is None:
            spot = Spot(variable.line, variable.column, len(root))
            _warn(problems, spot, *shape.said(inner[0]))


def _check(template: Template, use: _Use | None, problems: Problems) -> None:
    names = KNOWN | (use.names if use is not None else set())
    for variable in template.variables:
        root, *inner = variable.path or ("",)
        spot = Spot(variable.line, variable.column, len(root))
        if root not in names:
            hint = f"a trait is written `profile.{root}`; {nearest(root, names)}"
            _warn(problems, spot, f"`{root}` is nothing that a template knows", hint)
        elif root == "live" and template.call is None:
            _warn(problems, spot, "this template asks no live source", "add `call` to its parts")
        elif inner and root in FIELDS and inner[0] not in FIELDS[root]:
            hint = nearest(inner[0], FIELDS[root])
            _warn(problems, spot, f"`{root}` has no `{inner[0]}`", hint)
        elif inner and root == "steps" and use is not None and inner[0] not in use.steps:
            hint = nearest(inner[0], use.steps)
            message = f"no journey that sends this has a step `{inner[0]}`"
            _warn(problems, spot, message, hint)


def _warn(problems: Problems, spot: Spot, message: str, hint: str) -> None:
    problems.add(spot, f"{message}: it renders empty", hint, code="empty_name")
