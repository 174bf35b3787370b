"""Whether a message could be written: its template, rendered as at sending and thrown away."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from services.journey.core.effects import QueueMessage
from shared.local_time import zone_of
from shared.templates import Template, TemplateFailed, choose, render
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

    def fails(
        self, queued: QueueMessage, channel: str, traits: Mapping[str, Any], now: datetime
    ) -> bool:
        language = self.settings.locale
        locale = locale_of(traits, language)
        template = choose(self.templates, queued.template, channel, locale)
        if template is None:
            return True
        if not self._asked(template):
            return False
        zone = zone_of(traits.get("timezone"), self.settings.zone())
        names = names_of(
            queued.context,
            profile=traits,
            journey=queued.journey,
            message=message_names(template, queued.id, channel, zone, language),
            now=now,
            unsubscribe_url=_LINK,
            preferences_url=_LINK,
        )
        try:
            render(template, names)
        except TemplateFailed:
            return True
        return False

    def _asked(self, template: Template) -> bool:
        key = template.name.key
        if key not in self._may_fail:
            written = (*template.parts.values(), template.body)
            self._may_fail[key] = template.name.extension == "mjml" or any(
                part.tag_names() or not _HARMLESS.issuperset(part.filter_names())
                for part in written
            )
        return self._may_fail[key]
