"""Whether a message could be written: its template, rendered as at sending and thrown away."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from services.journey.core.effects import QueueMessage
from shared.decisions import Reason
from shared.local_time import zone_of
from shared.packs import broken_rule, with_address
from shared.templates import Template, TemplateFailed, choose, render
from shared.templates.live import Answer
from shared.templates.names import locale_of, message_names, names_of
from shared.workspace import WorkspaceSettings

_HARMLESS = frozenset({"default", "escape", "upcase", "downcase", "capitalize", "strip"})
"""Filters that take whatever comes. Most messages have no other, and need no rendering."""
_LINK = "https://example.com/u/simulated"


@dataclass(slots=True)
class Rendering:
    templates: Mapping[str, Template]
    settings: WorkspaceSettings
    _may_fail: dict[str, bool] = field(default_factory=dict)

    def refusal(
        self,
        queued: QueueMessage,
        channel: str,
        traits: Mapping[str, Any],
        now: datetime,
        answer: Answer,
    ) -> Reason | None:
        """Why it is dropped in the end; `answer` is what its template's live source says."""
        language = self.settings.locale
        locale = locale_of(traits, language)
        template = choose(self.templates, queued.template, channel, locale)
        if template is None:
            return Reason.TEMPLATE_ERROR
        call = template.call
        if call is None and not self._asked(template):
            return None
        zone = zone_of(traits.get("timezone"), self.settings.zone())
        names = names_of(
            queued.context,
            profile=traits,
            journey=queued.journey,
            message=message_names(template, queued.id, channel, zone, language),
            now=now,
            unsubscribe_url=_LINK,
            preferences_url=_LINK,
            live=answer.live,
        )
        try:
            if call is not None:
                call.question(names)
                refusal = answer.refusal(call)
                if refusal is not None:
                    return refusal
            made = render(template, names)
            if queued.category == "marketing":
                policies = self.settings.policies
                body = with_address(policies, channel, made.body)
                if broken_rule(policies.packs, channel, made.parts, body, _LINK) is not None:
                    return Reason.TEMPLATE_ERROR
        except TemplateFailed:
            return Reason.TEMPLATE_ERROR
        return None

    def _asked(self, template: Template) -> bool:
        """Whether it may fail. What a pack asks for stands where validation has seen it, unless a
        tag decides what is left of the text."""
        key = template.name.key
        if key not in self._may_fail:
            written = (*template.parts.values(), template.body)
            self._may_fail[key] = template.name.extension == "mjml" or any(
                part.tag_names() or not _HARMLESS.issuperset(part.filter_names())
                for part in written
            )
        return self._may_fail[key]
