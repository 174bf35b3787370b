"""Rendering: a template, the customer as she is now, and what the run has kept for the message."""

from datetime import datetime
from typing import NamedTuple

import msgspec

from services.dispatch.doors.links import Leave, Links
from services.dispatch.doors.tracking import tracked
from services.dispatch.pending import Pending
from services.dispatch.workspace import Workspace
from shared import message
from shared.local_time import zone_of
from shared.templates import Rendered, TemplateFailed, choose, render
from shared.templates.names import locale_of, message_names, names_of


class Finished(NamedTuple):
    """A message as it is handed to the channel."""

    content: Rendered
    headers: dict[str, str]


def render_message(
    workspace: Workspace,
    pending: Pending,
    channel: str,
    now: datetime,
    links: Links | None = None,
    address_hash: str = "",
) -> Finished:
    """Raises TemplateFailed: a missing, unreadable or failing template drops the message.

    Without `links` (no public address is known) there is no way to unsubscribe and no tracking.
    """
    language = workspace.settings.locale
    locale = locale_of(pending.traits, language)
    template = choose(workspace.templates, pending.template, channel, locale)
    if template is None:
        raise TemplateFailed(f"templates/{pending.template} has no file for {channel}")
    zone = zone_of(pending.traits.get("timezone"), workspace.zone)
    own = message_names(template, pending.key.id, channel, zone, language)
    try:
        context = message.unpack(pending.context)
    except msgspec.MsgspecError as error:
        raise TemplateFailed("what the run kept for the message cannot be read") from error
    leave = ""
    if links is not None:
        leave = links.preferences(Leave(pending.customer, channel, pending.key.id, address_hash))
    names = names_of(
        context,
        profile=pending.traits,
        journey=pending.message.journey,
        message=own,
        now=now,
        unsubscribe_url=leave,
        preferences_url=leave,
    )
    content = render(template, names)
    if links is None:
        return Finished(content, {})
    headers = {}
    if channel == "email" and pending.message.category == "marketing":
        headers = {
            "List-Unsubscribe": f"<{leave}>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        }
    return Finished(tracked(content, links, pending.customer, pending.key.id), headers)
