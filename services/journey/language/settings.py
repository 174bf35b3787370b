"""`dangol.yaml`: read into WorkspaceSettings, with its problems in place."""

from collections.abc import Iterable, Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from services.journey.language.model.reader import Places, add_errors
from services.journey.language.problems import Problems, channel_hint, nearest
from services.journey.language.reading import read_tree
from services.journey.language.tree import Mapping, Node, Scalar, Sequence, data
from shared.channels import CHANNELS, adapters_of
from shared.packs import PACKS
from shared.workspace import ChannelSettings, WorkspaceSettings


def read_settings(problems: Problems) -> tuple[WorkspaceSettings | None, frozenset[str] | None]:
    """The settings (None with problems added) and the channels they name, good or not."""
    tree = read_tree(problems)
    if tree is None:
        return None, None
    before = len(problems.found)
    settings = None
    try:
        settings = WorkspaceSettings.model_validate(data(tree))
    except ValidationError as error:
        add_errors(error, tree, problems, places_of(tree, WorkspaceSettings))
    _check_names(tree, problems)
    channels = tree.get("channels") if isinstance(tree, Mapping) else None
    names = frozenset(channels) if isinstance(channels, Mapping) else frozenset()
    return settings if len(problems.found) == before else None, names


def places_of(tree: Node, model: type[BaseModel]) -> Places:
    """Which model reads which mapping, so that unknown fields get a hint."""
    places: Places = {}
    if not isinstance(tree, Mapping):
        return places
    places[id(tree)] = model
    for name, field in model.model_fields.items():
        value = tree.get(field.alias or name)
        inner = next(_models(field.annotation), None)
        if value is None or inner is None:
            continue
        nodes = [value]
        if isinstance(value, Sequence):
            nodes = list(value)
        elif isinstance(value, Mapping) and not _is_model(field.annotation):
            nodes = list(value.values())
        for node in nodes:
            places |= places_of(node, inner)
    return places


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if _is_model(annotation):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _check_names(tree: Node, problems: Problems) -> None:
    for pack in _texts(tree, ("policies", "packs")):
        if pack.text not in PACKS:
            _unknown(problems, pack, "pack", PACKS)
        elif PACKS[pack.text].needs_consent:
            _check_consent(tree, pack.text, problems)
    for rules in ("quiet_hours", "frequency_caps"):
        for rule in _items(tree, ("policies", rules)):
            for channel in _texts(rule, ("channels",)):
                if channel.text not in CHANNELS:
                    _unknown_channel(problems, channel)
    channels = tree.get("channels") if isinstance(tree, Mapping) else None
    if isinstance(channels, Mapping):
        for name in channels:
            _check_channel(name, channels, problems)


def _check_consent(tree: Node, pack: str, problems: Problems) -> None:
    policies = tree.get("policies") if isinstance(tree, Mapping) else None
    consent = policies.get("consent") if isinstance(policies, Mapping) else None
    if isinstance(consent, Scalar) and consent.text == "assumed":
        problems.add(
            consent.spot,
            f"the pack {pack} asks for consent, so it cannot be assumed",
            "write `consent: required`, or leave the pack out",
            code="pack",
        )


def _check_channel(name: str, channels: Mapping, problems: Problems) -> None:
    settings = channels[name]
    if name not in CHANNELS:
        _unknown_channel(problems, channels.keys_at[name])
    elif isinstance(settings, Mapping):
        adapters = (settings.get("adapter"), *_texts(settings, ("failover",)))
        known = adapters_of(CHANNELS[name])
        for adapter in adapters:
            if isinstance(adapter, Scalar) and adapter.text not in known:
                _unknown(problems, adapter, "adapter", known, f" of `{name}`")
            if isinstance(adapter, Scalar):
                _check_limits(adapter.text, settings.get(adapter.text), problems)
        if name != "email" and "domain_rates" in settings:
            problems.add(
                settings.keys_at["domain_rates"].spot,
                f"`domain_rates` are for e-mail: the addresses of `{name}` have no domain",
                "write `rate`",
                code="domain_rates",
            )


def _check_limits(adapter: str, group: Node | None, problems: Problems) -> None:
    """Of an adapter's own group of settings: the rest of it only the adapter understands."""
    if isinstance(group, Mapping):
        limits = {name: data(group[name]) for name in ("rate", "concurrency") if name in group}
        try:
            ChannelSettings.model_validate({"adapter": adapter, **limits})
        except ValidationError as error:
            add_errors(error, group, problems)


def _unknown_channel(problems: Problems, scalar: Scalar) -> None:
    problems.add(
        scalar.spot,
        f"there is no channel called `{scalar.text[:60]}`",
        channel_hint(scalar.text),
        code="unknown_channel",
    )


def _unknown(
    problems: Problems, scalar: Scalar, what: str, known: Iterable[str], of: str = ""
) -> None:
    problems.add(
        scalar.spot,
        f"there is no {what}{of} called `{scalar.text[:60]}`",
        nearest(scalar.text, known),
        code=f"unknown_{what}",
    )


def _texts(node: Node, path: tuple[str, ...]) -> list[Scalar]:
    return [item for item in _items(node, path) if isinstance(item, Scalar)]


def _items(node: Node, path: tuple[str, ...]) -> list[Node]:
    """The items of a list at a path, none where there is no list."""
    for part in path:
        found = node.get(part) if isinstance(node, Mapping) else None
        if found is None:
            return []
        node = found
    return list(node) if isinstance(node, Sequence) else []
