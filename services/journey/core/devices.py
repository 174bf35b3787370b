"""Devices that are registered for push messages: `context.device` of any event of the customer.

They are kept as the trait `devices`, the newest first; push messages go to the first, where the
trait `push_token` does not say otherwise (`shared.address`).
"""

from collections.abc import Mapping
from typing import Any

from shared.address import push_token
from shared.clock import EPOCH
from shared.event import Event

_MOST = 10
_LONGEST = 200


def take_device(
    traits: dict[str, Any], stated: dict[str, int], event: Event
) -> tuple[dict[str, Any], dict[str, int]]:
    """Traits and statement times after an event; the very same ones if it registers nothing new."""
    device = _registered(event.context.get("device"))
    if device is None:
        return traits, stated
    kept = traits.get("devices")
    known = [one for one in kept if isinstance(one, Mapping)] if isinstance(kept, list) else []
    if known and known[0] == device:
        return traits, stated
    at = int((event.timestamp - EPOCH).total_seconds() * 1000)
    others = [one for one in known if one.get("token") != device["token"]]
    if at < stated.get("devices", at):
        if len(others) < len(known):
            return traits, stated  # an older registration, which arrives late
        return {**traits, "devices": [*known, device][:_MOST]}, stated
    return {**traits, "devices": [device, *others][:_MOST]}, {**stated, "devices": at}


def _registered(told: object) -> dict[str, str] | None:
    if not isinstance(told, dict):
        return None
    token = told.get("token")
    if not isinstance(token, str) or (token := push_token(token) or "") == "":
        return None
    more = {name: told.get(name) for name in ("type", "app")}
    kept = {name: value[:_LONGEST] for name, value in more.items() if isinstance(value, str)}
    return {"token": token, **kept}
