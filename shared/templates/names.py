"""The names that a template knows, in one place: for sending, for previews and for checks."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from shared.message import MessageContext
from shared.templates.template import Template

KNOWN = frozenset(
    {
        "profile",
        "trigger",
        "event",
        "steps",
        "journey",
        "message",
        "unsubscribe_url",
        "preferences_url",
        "now",
        "live",
    }
)

FIELDS = {
    "journey": frozenset({"id", "title"}),
    "message": frozenset({"id", "channel", "locale", "timezone"}),
}
"""All that these names hold."""


def locale_of(profile: Mapping[str, Any], default: str | None) -> str | None:
    """The language that a customer is written to in: her own, else the workspace's."""
    stated = profile.get("locale")
    return stated if isinstance(stated, str) and stated else default


def message_names(
    template: Template, message_id: str, channel: str, zone: ZoneInfo, default: str | None
) -> dict[str, str]:
    """`message`. A file without a locale is in the workspace's language (`default`), whatever the
    customer's may be."""
    written = template.name.locale or default or ""
    return {"id": message_id, "channel": channel, "locale": written, "timezone": zone.key}


def names_of(
    context: MessageContext,
    *,
    profile: Mapping[str, Any],
    journey: str,
    message: Mapping[str, str],
    now: datetime,
    unsubscribe_url: str = "",
    preferences_url: str = "",
    live: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """`message` is what `message_names` makes: filters write for its locale and time zone.

    The names of `with:` never hide one of the language's own. `live` is what the source said that
    the template asks.
    """
    return {
        **context.values,
        "profile": profile,
        "trigger": context.trigger,
        "event": context.event,
        "steps": {**_with_underscores(context.steps), **context.steps},
        "journey": {"id": journey, "title": context.title},
        "message": dict(message),
        "unsubscribe_url": unsubscribe_url,
        "preferences_url": preferences_url,
        "now": now,
        "live": live or {},
    }


def _with_underscores(steps: Mapping[str, Any]) -> dict[str, Any]:
    """As in expressions, `steps.first_nudge` is the step `first-nudge`."""
    return {name.replace("-", "_"): step for name, step in steps.items() if "-" in name}
