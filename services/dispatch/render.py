"""Rendering: a template, the customer as she is now, and what the run has kept for the message."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from services.dispatch.doors.links import Leave, Links
from services.dispatch.doors.tracking import tracked
from services.dispatch.pending import Pending
from services.dispatch.workspace import Workspace
from shared import message
from shared.local_time import zone_of
from shared.packs import broken_rule, with_address
from shared.templates import Rendered, RuleBroken, Template, TemplateFailed, choose, render
from shared.templates.live import Question
from shared.templates.names import locale_of, message_names, names_of
from shared.workspace import Policies


class Finished(NamedTuple):
    """A message as it is handed to the channel."""

    content: Rendered
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A message before it is written: its template, and every name but `live`."""

    template: Template
    names: dict[str, Any]
    pending: Pending
    channel: str
    links: Links | None
    leave: str
    advertising: Policies | None = None
    """Those whose packs have rules for the text; None: it is no advertising."""

    def question(self) -> Question | None:
        """What its live source is asked; None without one. Raises TemplateFailed."""
        call = self.template.call
        return None if call is None else call.question(self.names)

    def finish(self, live: Mapping[str, Any] | None = None) -> Finished:
        """Raises TemplateFailed, RuleBroken among them."""
        content = render(self.template, self.names if not live else {**self.names, "live": live})
        if self.advertising is not None:
            content = self._lawful(content, self.advertising)
        if self.links is None:
            return Finished(content, {})
        pending, headers = self.pending, {}
        if self.channel == "email" and pending.message.category == "marketing":
            headers = {
                "List-Unsubscribe": f"<{self.leave}>",
                "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
            }
        return Finished(tracked(content, self.links, pending.customer, pending.key.id), headers)

    def _lawful(self, content: Rendered, policies: Policies) -> Rendered:
        body = with_address(policies, self.channel, content.body)
        broken = broken_rule(policies.packs, self.channel, content.parts, body, self.leave)
        if broken is not None:
            raise RuleBroken(broken)
        return content if body is content.body else replace(content, body=body)


def prepare(
    workspace: Workspace,
    pending: Pending,
    channel: str,
    now: datetime,
    links: Links | None = None,
    address_hash: str = "",
) -> Prepared:
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
    policies = workspace.settings.policies
    advertising = policies if policies.packs and pending.message.category == "marketing" else None
    return Prepared(template, names, pending, channel, links, leave, advertising)
