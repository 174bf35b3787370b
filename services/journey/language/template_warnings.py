"""Names in templates that hold nothing: they render empty, which is rarely what was meant.

A warning refuses nothing: what a profile or an event holds cannot be known.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from services.journey.core.flow import Flow, Send
from services.journey.language.problems import Problem, Problems, Source, Spot, nearest
from shared.templates import Template
from shared.templates.names import FIELDS, KNOWN


@dataclass(slots=True)
class _Use:
    """What the journeys that send a template hand to it."""

    names: set[str] = field(default_factory=set)
    steps: set[str] = field(default_factory=set)


def template_warnings(
    files: Mapping[str, bytes], templates: Iterable[Template], flows: Iterable[Flow]
) -> tuple[Problem, ...]:
    """By file and place; `files` is the workspace, of good templates."""
    uses = _uses(flows)
    found: list[Problem] = []
    for template in templates:
        path = template.name.path
        problems = Problems(Source.of(path, files[path].decode("utf-8-sig")), found)
        _check(template, uses.get(template.name.name), problems)
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
    return uses


def _check(template: Template, use: _Use | None, problems: Problems) -> None:
    names = KNOWN | (use.names if use is not None else set())
    for variable in template.variables:
        root, *inner = variable.path or ("",)
        spot = Spot(variable.line, variable.column, len(root))
        if root not in names:
            hint = f"a trait is written `profile.{root}`; {nearest(root, names)}"
            _warn(problems, spot, f"`{root}` is nothing that a template knows", hint)
        elif inner and root in FIELDS and inner[0] not in FIELDS[root]:
            hint = nearest(inner[0], FIELDS[root])
            _warn(problems, spot, f"`{root}` has no `{inner[0]}`", hint)
        elif inner and root == "steps" and use is not None and inner[0] not in use.steps:
            hint = nearest(inner[0], use.steps)
            message = f"no journey that sends this has a step `{inner[0]}`"
            _warn(problems, spot, message, hint)


def _warn(problems: Problems, spot: Spot, message: str, hint: str) -> None:
    problems.add(spot, f"{message}: it renders empty", hint, code="empty_name")
