"""The channels' descriptors: what a workspace may name, without importing any adapter.

Dispatch's adapters register themselves under these names; third parties add theirs through entry
points (CONTRIBUTING says how). `address` says which trait holds the address.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Literal

ADAPTERS_GROUP = "dangol.channels"
"""The group of the entry points by which installed packages add adapters."""

AddressKind = Literal["email", "phone", "push_token", "web_push", "none"]


@dataclass(frozen=True, slots=True)
class Channel:
    name: str
    address: AddressKind
    adapters: tuple[str, ...]
    """Adapters that this release knows for the channel; every channel also takes `log`."""
    body: str = "text"
    """`html` bodies are escaped and get a text part; `text` bodies are plain."""
    required_parts: tuple[str, ...] = ()
    """Front-matter parts a template of this channel must have."""


CHANNELS: dict[str, Channel] = {
    c.name: c
    for c in (
        Channel(
            "email",
            "email",
            ("log", "resend", "sendgrid", "ses", "smtp"),
            body="html",
            required_parts=("subject",),
        ),
        Channel("sms", "phone", ("aligo", "log", "nhn", "sens", "solapi", "twilio")),
        Channel("alimtalk", "phone", ("log", "nhn", "sens", "solapi")),
        Channel("brand_message", "phone", ("log", "nhn", "solapi")),
        Channel("push", "push_token", ("apns", "fcm", "log")),
        Channel("web_push", "web_push", ("log", "web_push")),
        Channel("on_site", "none", ("log",)),
        Channel("webhook", "none", ("log", "webhook")),
        Channel("slack", "none", ("log", "slack")),
    )
}

INFORMATION_ONLY = frozenset({"alimtalk"})
"""Channels that carry no advertising: a marketing journey may not name them."""


@cache
def installed_adapters() -> Mapping[str, EntryPoint]:
    """Those that packages beside Dangol add, by the name for `adapter:`. None of them is loaded."""
    return {point.name: point for point in entry_points(group=ADAPTERS_GROUP)}


def adapters_of(channel: Channel) -> frozenset[str]:
    """The names that `adapter:` of this channel may have: a package's adapter says itself, when it
    is made, which channels it serves."""
    return frozenset(channel.adapters) | installed_adapters().keys()
