"""Rendering: a template, the customer as she is now, and what the run has kept for the message."""

from datetime import datetime

import msgspec

from services.dispatch.pending import Pending
from services.dispatch.workspace import Workspace
from shared import message
from shared.local_time import zone_of
from shared.templates import Rendered, TemplateFailed, choose, render
from shared.templates.names import names_of


def render_message(workspace: Workspace, pending: Pending, channel: str, now: datetime) -> Rendered:
    """Raises TemplateFailed: a missing, unreadable or failing template drops the message."""
    stated = pending.traits.get("locale")
    locale = stated if isinstance(stated, str) and stated else workspace.settings.locale
    template = choose(workspace.templates, pending.template, channel, locale)
    if template is None:
        raise TemplateFailed(f"templates/{pending.template} has no file for {channel}")
    zone = zone_of(pending.traits.get("timezone"), workspace.zone)
    # A file without a locale is in the workspace's language, whatever the customer's may be.
    written = template.name.locale or workspace.settings.locale or ""
    own = {"id": pending.key.id, "channel": channel, "locale": written, "timezone": zone.key}
    try:
        context = message.unpack(pending.context)
    except msgspec.MsgspecError as error:
        raise TemplateFailed("what the run kept for the message cannot be read") from error
    names = names_of(
        context, profile=pending.traits, journey=pending.message.journey, message=own, now=now
    )
    return render(template, names)
