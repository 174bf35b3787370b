"""What a journey names outside itself: channels, templates, segments; and what law forbids."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from services.journey.language.expressions import Node, Path
from services.journey.language.model import steps as model
from services.journey.language.model.triggers import ScheduleTrigger, SegmentTrigger
from services.journey.language.problems import Problems, channel_hint, nearest
from services.journey.language.resolve import Resolved
from services.journey.language.tree import Scalar
from shared.channels import CHANNELS, INFORMATION_ONLY


@dataclass(frozen=True, slots=True)
class Known:
    """What the rest of the workspace offers."""

    channels: frozenset[str] | None
    """Those of dangol.yaml; None where that cannot be read."""
    templates: Mapping[str, frozenset[str]]
    """Template folder to the channels that it has files for, good or bad."""
    segments: frozenset[str]
    rfm: bool = True
    """Whether dangol.yaml says what a purchase is; True where that cannot be read."""


def check_scores(text: Scalar, node: Node, known: bool, problems: Problems) -> None:
    """A condition on `rfm` where nothing is ever scored would never hold."""
    if known:
        return
    for path in paths_in(node):
        if path.root == "rfm":
            problems.add(
                text.spot_of(*path.root_span),
                "`rfm` is always null: dangol.yaml does not say what a purchase is",
                "add to dangol.yaml, for example  rfm: {event: Order Completed, value: total}",
                code="rfm_not_configured",
            )


def paths_in(node: Node) -> Iterator[Path]:
    if isinstance(node, Path):
        yield node
    for child in node.children():
        yield from paths_in(child)


def check_journey(resolved: Resolved, known: Known, problems: Problems) -> None:
    journey = resolved.journey
    for text, node in resolved.expressions.items():
        check_scores(text, node, known.rfm, problems)
    if isinstance(journey.trigger, (SegmentTrigger, ScheduleTrigger)):
        _segment(journey.trigger.segment, known, problems)
    for placed in resolved.steps:
        match placed.step:
            case model.Send():
                _send(placed.step, journey.category == "marketing", known, problems)
            case model.Branch(branch=arms):
                _branch(arms, problems)
            case model.Split():
                _split(placed.step, problems)


def _send(step: model.Send, marketing: bool, known: Known, problems: Problems) -> None:
    channels = (step.send, *step.else_)
    for at, channel in enumerate(channels):
        if channel.text in [earlier.text for earlier in channels[:at]]:
            problems.add(channel.spot, f"`{channel.text}` was tried before", "leave it out")
        elif _channel(channel, known, problems) and marketing and channel.text in INFORMATION_ONLY:
            problems.add(
                channel.spot,
                f"`{channel.text}` carries information only, and this journey is marketing",
                "use brand_message, or `category: transactional` if it is no advertising",
                code="information_only",
            )
    _template(step, channels, known, problems)


def _channel(channel: Scalar, known: Known, problems: Problems) -> bool:
    """Whether the channel exists at all; adds a problem where it does not or is not set up."""
    name = channel.text
    if name not in CHANNELS:
        problems.add(
            channel.spot,
            f"there is no channel `{name[:60]}`",
            channel_hint(name),
            code="unknown_channel",
        )
        return False
    if known.channels is not None and name not in known.channels:
        problems.add(
            channel.spot,
            f"the channel `{name}` is not set up in dangol.yaml",
            f"add under `channels:`  {name}: {{adapter: log}}",
            code="unknown_channel",
        )
    return True


def _template(
    step: model.Send, channels: tuple[Scalar, ...], known: Known, problems: Problems
) -> None:
    name = step.template.text
    if name not in known.templates:
        problems.add(
            step.template.spot,
            f"there is no template `{name[:60]}`",
            nearest(name, known.templates) or f"add templates/{name[:60]}/{step.send.text}.liquid",
            code="unknown_template",
        )
        return
    for channel in channels:
        if channel.text in CHANNELS and channel.text not in known.templates[name]:
            problems.add(
                step.template.spot if channel is step.send else channel.spot,
                f"the template `{name}` has no file for `{channel.text}`",
                f"add templates/{name}/{channel.text}.liquid",
                code="unknown_template",
            )


def _segment(segment: Scalar, known: Known, problems: Problems) -> None:
    if segment.text not in known.segments:
        problems.add(
            segment.spot,
            f"there is no segment `{segment.text[:60]}`",
            nearest(segment.text, known.segments) or "segments are files in segments/",
            code="unknown_segment",
        )


def _branch(arms: tuple[model.Arm, ...], problems: Problems) -> None:
    for arm in arms[:-1]:
        if isinstance(arm, model.Otherwise):
            spot = arm.node.key_spot("otherwise")
            problems.add(spot, "`otherwise` is the last arm of a branch", "move it to the end")


def _split(step: model.Split, problems: Problems) -> None:
    if not any(variant.weight > 0 for variant in step.split):
        problems.add(
            model.key_scalar(step).spot,
            "this split has no positive weight",
            "give at least one variant a `weight` above 0",
        )
    seen: set[str] = set()
    for variant in step.split:
        name = variant.variant
        if name.text in seen:
            problems.add(name.spot, f"the variant `{name.text[:60]}` stands here twice")
        seen.add(name.text)
