"""What the workspace's packs ask of advertising: labels and footers, where the templates stand.

Only what is written in a template can be checked here; what the moment decides (the zone, a
consent, what a condition in the text leaves standing) is decided at sending.
"""

from collections.abc import Iterable, Mapping

from services.journey.core.flow import Flow, Send
from services.journey.language.problems import Problem, Problems, Source, Spot, nearest
from services.journey.language.tree import Mapping as Tree
from services.journey.language.tree import Node, Scalar, Sequence
from shared.packs import LabelRule, Pack, packs_of
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
    sent = advertising(flows)
    for template in templates:
        if (template.name.name, template.name.channel) not in sent:
            continue
        path = template.name.path
        text = files[path].decode("utf-8-sig").replace("\r\n", "\n")
        problems = Problems(Source.of(path, text), found)
        split = front_matter.split(text)
        for pack in packs:
            for rule in pack.labels:
                if template.name.channel in rule.channels:
                    _check(rule, pack.name, split, problems)


def check_sender(
    settings: WorkspaceSettings, flows: Iterable[Flow], problems: Problems, tree: Node
) -> None:
    """A pack that asks for a postal address in advertising mail, and a workspace without one."""
    mails = any(channel == "email" for _, channel in advertising(flows))
    if settings.policies.sender is not None or not mails:
        return
    packs = {pack.name: pack.address for pack in packs_of(settings.policies.packs)}
    for name in _items(tree, "packs"):
        rule = packs.get(_text(name))
        if rule is not None and rule.is_required:
            problems.add(
                name.spot,
                f"{_text(name)}/{rule.id}: {rule.message}, and `policies` states none",
                'state it once, and mail ends with it: `sender: {name: "…", address: "…"}` under'
                f" `policies` ({rule.source})",
                code="pack",
            )


def check_exceptions(
    settings: WorkspaceSettings, categories: Mapping[str, str], problems: Problems, tree: Node
) -> None:
    """`existing_customers` and `met_elsewhere` of dangol.yaml; `categories` are those of the
    journeys, by id."""
    packs = packs_of(settings.policies.packs)
    for rule in _items(tree, "existing_customers"):
        if not any(pack.exemptions for pack in packs):
            problems.add(
                rule.spot,
                "no pack in force knows an exemption for existing customers",
                "it stands beside a pack, such as `packs: [kr-marketing]`",
                code="pack",
            )
        names = rule.get("journeys") if isinstance(rule, Tree) else None
        for name in names if isinstance(names, Sequence) else ():
            if isinstance(name, Scalar):
                _check_exempted(name, categories, problems)
    known = [f"{pack.name}/{duty.id}" for pack in packs for duty in pack.duties]
    for given in _items(tree, "met_elsewhere"):
        if _text(given) not in known:
            problems.add(
                given.spot,
                f"no pack in force knows a duty `{_text(given)[:60]}`",
                nearest(_text(given), known) or "leave it out",
                code="pack",
            )


def _check_exempted(name: Scalar, categories: Mapping[str, str], problems: Problems) -> None:
    if name.text not in categories:
        hint = nearest(name.text, categories)
        message = f"there is no journey `{name.text[:60]}`"
        problems.add(name.spot, message, hint, code="unknown_journey")
    elif categories[name.text] != "marketing":
        message = f"`{name.text}` is no advertising, so it needs no exemption"
        problems.add(name.spot, message, "leave it out", code="pack")


def pack_warnings(
    settings: WorkspaceSettings, flows: Iterable[Flow], problems: Problems, tree: Node
) -> None:
    """What a pack asks for and is not there. It refuses nothing: another system may do it."""
    informing = {
        flow.journey
        for flow in flows
        if flow.category == "transactional"
        and any(isinstance(step, Send) for step in flow.steps.values())
    }
    done = informing | {name.rpartition("/")[2] for name in settings.policies.met_elsewhere}
    packs = {pack.name: pack for pack in packs_of(settings.policies.packs)}
    for name in _items(tree, "packs"):
        pack = packs[_text(name)]
        for duty in pack.duties:
            if duty.id not in done:
                problems.add(
                    name.spot,
                    f"{pack.name}/{duty.id}: {duty.message}, and no journey `{duty.id}` does it",
                    f"{duty.hint} ({duty.source})",
                    code="pack_duty",
                )
        _check_certificates(pack, settings, problems, tree)


def _check_certificates(
    pack: Pack, settings: WorkspaceSettings, problems: Problems, tree: Node
) -> None:
    channels = tree.get("channels") if isinstance(tree, Tree) else None
    for rule in pack.certificates:
        for channel, given in settings.channels.items():
            adapters = {given.adapter, *given.failover} & rule.adapters
            if channel in rule.channels and adapters and not given.certificate:
                problems.add(
                    channels.key_spot(channel) if isinstance(channels, Tree) else Spot(1, 1),
                    f"{pack.name}/{rule.id}: {rule.message}",
                    f"{rule.hint} ({rule.source})",
                    code="pack_duty",
                )


def _items(tree: Node, field: str) -> list[Node]:
    policies = tree.get("policies") if isinstance(tree, Tree) else None
    found = policies.get(field) if isinstance(policies, Tree) else None
    return list(found) if isinstance(found, Sequence) else []


def _text(node: Node) -> str:
    return node.text if isinstance(node, Scalar) else ""


def advertising(flows: Iterable[Flow]) -> set[tuple[str, str]]:
    """Template and channel of what marketing journeys send."""
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
