"""What the workspace's packs ask of advertising: labels and footers, where the templates stand.

Only what is written in a template can be checked here; what the moment decides (the zone, a
consent, a place under a cap) is decided at sending.
"""

from collections.abc import Iterable, Mapping

from services.journey.core.flow import Flow, Send
from services.journey.language.problems import Problem, Problems, Source, Spot
from shared.packs import LabelRule, packs_of
from shared.templates import Template, front_matter
from shared.workspace import WorkspaceSettings


def check_packs(
    files: Mapping[str, bytes],
    settings: WorkspaceSettings,
    templates: Iterable[Template],
    flows: Iterable[Flow],
    found: list[Problem],
) -> None:
    """Adds a problem for each rule that a template of a marketing journey breaks."""
    packs = packs_of(settings.policies.packs)
    if not packs:
        return
    advertising = _advertising(flows)
    for template in templates:
        if (template.name.name, template.name.channel) not in advertising:
            continue
        path = template.name.path
        text = files[path].decode("utf-8-sig").replace("\r\n", "\n")
        problems = Problems(Source.of(path, text), found)
        split = front_matter.split(text)
        for pack in packs:
            for rule in pack.labels:
                if template.name.channel in rule.channels:
                    _check(rule, pack.name, split, problems)


def _advertising(flows: Iterable[Flow]) -> set[tuple[str, str]]:
    return {
        (step.template, channel)
        for flow in flows
        if flow.category == "marketing"
        for step in flow.steps.values()
        if isinstance(step, Send)
        for channel in step.channels
    }


def _check(rule: LabelRule, pack: str, split: front_matter.Split, problems: Problems) -> None:
    part = split.parts.get(rule.part)
    text = split.body if rule.part == "body" else "" if part is None else part.text
    if rule.pattern.search(text):
        return
    spot = Spot(1, 1)
    if rule.part == "body":
        spot = Spot(split.body_line, 1)
    elif part is not None:
        spot = Spot(part.line, part.column)
    problems.add(
        spot,
        f"{pack}/{rule.id}: {rule.message}",
        f"{rule.hint} ({rule.source})",
        code="pack",
    )
