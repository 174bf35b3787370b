"""Rendering: a template, the customer as she is now, and what the run has kept for the message."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from services.dispatch.pending import Pending
from services.dispatch.workspace import Workspace
from shared import message
from shared.templates import Rendered, TemplateFailed, choose, render


def render_message(workspace: Workspace, pending: Pending, channel: str, now: datetime) -> Rendered:
    """Raises TemplateFailed: a missing, unreadable or failing template drops the message."""
    locale = pending.traits.get("locale") or workspace.settings.locale
    template = choose(
        workspace.templates,
        pending.template,
        channel,
        locale if isinstance(locale, str) else workspace.settings.locale,
    )
    if template is None:
        raise TemplateFailed(f"templates/{pending.template} has no file for {channel}")
    return render(template, names(pending, channel, now))


def names(pending: Pending, channel: str, now: datetime) -> Mapping[str, Any]:
    """The names that a template knows; those of `with:` never hide one of the language's own."""
    try:
        context = message.unpack(pending.context)
    except msgspec.MsgspecError as error:
        raise TemplateFailed("what the run kept for the message cannot be read") from error
    return {
        **context.values,
        "profile": pending.traits,
        "trigger": context.trigger,
        "event": context.event,
        "steps": context.steps,
        "journey": {"id": pending.message.journey, "title": context.title},
        "message": {"id": pending.key.id, "channel": channel},
        "unsubscribe_url": "",
        "preferences_url": "",
        "now": now,
    }
