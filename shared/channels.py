"""The channels' descriptors: what a workspace may name, without importing any adapter.

Dispatch's adapters register themselves under these names; third parties add channels and adapters
through entry points (CONTRIBUTING says how).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Literal

ADAPTERS_GROUP = "dangol.channels"
"""The group of the entry points by which installed packages add adapters."""
KINDS_GROUP = "dangol.channel_kinds"
"""The group of those by which they add channels: each leads to a `Channel` of its own name."""

AddressKind = str
"""The trait that holds the address: `email`, `phone`, `push_token` and `web_push` are read as what
they are, any other is a token of one line. `none`: the channel is reached by the customer's id."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_TRAIT = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class Channel:
    name: str
    address: AddressKind
    adapters: tuple[str, ...]
    """Adapters that this release knows for the channel; every channel also takes `log`."""
    body: Literal["text", "html"] = "text"
    """`html` bodies are escaped and get a text part; `text` bodies are plain."""
    required_parts: tuple[str, ...] = ()
    """Front-matter parts a template of this channel must have."""
    information_only: bool = False
    """It carries no advertising: a marketing journey may not name it."""
    internal: bool = False
    """It reaches no customer (but a team, or a system): no customer is asked about it."""
    treated_as: str = ""
    """Of a package's channel: the channel of ours whose rules in the packs hold for it, too."""
    title: str = ""
    title_ko: str = ""
    """Of a package's channel: what people call it."""


BUILT_IN: Mapping[str, Channel] = {
    c.name: c
    for c in (
        Channel(
            "email",
            "email",
            ("log", "resend", "sendgrid", "ses", "smtp"),
            body="html",
            required_parts=("subject",),
        ),
        Channel("sms", "phone", ("aligo", "bizgo", "log", "nhn", "sens", "solapi", "twilio")),
        Channel(
            "alimtalk", "phone", ("bizgo", "log", "nhn", "sens", "solapi"), information_only=True
        ),
        Channel("brand_message", "phone", ("bizgo", "log", "nhn", "solapi")),
        Channel("push", "push_token", ("apns", "fcm", "log")),
        Channel("web_push", "web_push", ("log", "web_push")),
        Channel("on_site", "none", ("log",)),
        Channel("webhook", "none", ("log", "webhook"), internal=True),
        Channel("slack", "none", ("log", "slack"), internal=True),
    )
}


def _refusal(name: str, found: object) -> str | None:
    """Why what an entry point of this name leads to is no channel."""
    if not isinstance(found, Channel):
        return f"it is no `shared.channels.Channel` but of type {type(found).__name__}"
    traits = (found.address, *found.required_parts)
    if not _NAME.fullmatch(name) or found.name != name:
        return f"its name is `{found.name}`: both need the same, of small letters, digits and `_`"
    if name in BUILT_IN:
        return "the name is that of a channel of Dangol's own"
    if not all(isinstance(each, str) and _TRAIT.fullmatch(each) for each in traits):
        return "`address` and `required_parts` are names of letters, digits and `_`"
    if found.body not in ("text", "html"):
        return '`body` is "text" or "html"'
    if found.treated_as and found.treated_as not in BUILT_IN:
        return f"`treated_as` names none of {', '.join(BUILT_IN)}"
    return None


def _installed(points: Iterable[EntryPoint]) -> tuple[dict[str, Channel], dict[str, str]]:
    """The channels that packages add; of those that cannot be used the name, and why."""
    good: dict[str, Channel] = {}
    bad: dict[str, str] = {}
    for point in points:
        try:
            found = point.load()
        except Exception as error:  # noqa: BLE001 - others' code: it breaks its own channel only
            bad[point.name] = f"{point.value} cannot be loaded: {type(error).__name__}"
            continue
        refusal = _refusal(point.name, found)
        if refusal is None:
            good[point.name] = found
        else:
            bad[point.name] = f"{point.value}: {refusal}"
    return good, bad


_ADDED, UNUSABLE = _installed(entry_points(group=KINDS_GROUP))
"""Read as this module is imported: what leads there may itself import nothing but this of Dangol.
`UNUSABLE`: name of a package's channel → why it is not among the channels."""
CHANNELS: Mapping[str, Channel] = {**BUILT_IN, **_ADDED}

INFORMATION_ONLY = frozenset(c.name for c in CHANNELS.values() if c.information_only)
"""Channels that carry no advertising: a marketing journey may not name them."""


def titles(language: Literal["en", "ko"]) -> dict[str, str]:
    """Of packages' channels that have one: name → what people call it."""
    said = ((c.name, c.title_ko if language == "ko" else c.title) for c in CHANNELS.values())
    return {name: title for name, title in said if title}


def ruled_as(*names: str) -> frozenset[str]:
    """These channels of ours, and those that are treated as one of them."""
    added = (c.name for c in CHANNELS.values() if c.treated_as in names)
    return frozenset((*names, *added))


@cache
def installed_adapters() -> Mapping[str, EntryPoint]:
    """Those that packages beside Dangol add, by the name for `adapter:`. None of them is loaded."""
    return {point.name: point for point in entry_points(group=ADAPTERS_GROUP)}


def adapters_of(channel: Channel) -> frozenset[str]:
    """The names that `adapter:` of this channel may have: a package's adapter says itself, when it
    is made, which channels it serves."""
    return frozenset(channel.adapters) | installed_adapters().keys()
