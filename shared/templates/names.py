"""The names that a template knows, in one place: for sending, for previews and for checks."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from shared.message import MessageContext

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
    }
)

FIELDS = {
    "journey": frozenset({"id", "title"}),
    "message": frozenset({"id", "channel", "locale", "timezone"}),
}
"""All that these names hold."""


def names_of(
    context: MessageContext,
    *,
    profile: Mapping[str, Any],
    journey: str,
    message: Mapping[str, str],
    now: datetime,
    unsubscribe_url: str = "",
    preferences_url: str = "",
) -> dict[str, Any]:
    """`message`: id, channel, and the locale and time zone that filters write for.

    The names of `with:` never hide one of the language's own.
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
    }


def _with_underscores(steps: Mapping[str, Any]) -> dict[str, Any]:
    """As in expressions, `steps.first_nudge` is the step `first-nudge`."""
    return {name.replace("-", "_"): step for name, step in steps.items() if "-" in name}
