"""What a template would make of a customer: rendered as for sending, and what is odd about it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from services.journey.language.pack_rules import advertising
from services.journey.language.problems import nearest
from services.journey.language.workspace import Workspace
from shared.errors import BadInput
from shared.local_time import zone_of
from shared.message import MessageContext
from shared.packs import with_address
from shared.sms import SUBJECT_BYTES, SmsSize, hint_for, size_of
from shared.templates import Rendered, Template, TemplateFailed, choose, render
from shared.templates.names import locale_of, message_names, names_of

CLIPPED_AT = 102_400
"""Bytes of HTML behind which Gmail cuts a mail off, as senders report; Google names no figure."""
_LONG_SUBJECT = 60

SAMPLE_KEYS = ("profile", "trigger", "event", "steps", "with", "journey", "live")


@dataclass(frozen=True, slots=True)
class Preview:
    file: str
    """The template's file, as the locale has chosen it."""
    rendered: Rendered
    size: SmsSize | None
    """For text messages."""
    kind: str | None
    """Of text messages: SMS, LMS or MMS, or `too long`; vendors price them by it."""
    warnings: tuple[str, ...]


def preview(
    workspace: Workspace,
    name: str,
    channel: str,
    sample: Mapping[str, Any],
    now: datetime,
    locale: str | None = None,
) -> Preview:
    """`sample` holds `profile`, and what else of `SAMPLE_KEYS` the template reads.

    Raises BadInput: no such template, a sample that is none, or one with which it fails.
    """
    parts = _parts(sample)
    profile = parts["profile"]
    language = workspace.settings.locale
    template = _template(workspace, name, channel, locale or locale_of(profile, language))
    zone = zone_of(profile.get("timezone"), workspace.settings.zone())
    journey = parts["journey"]
    names = names_of(
        MessageContext(
            trigger=parts["trigger"],
            event=parts["event"],
            steps=parts["steps"],
            values=parts["with"],
            title=str(journey.get("title", "")),
        ),
        profile=profile,
        journey=str(journey.get("id", "preview")),
        message=message_names(template, "preview", channel, zone, language),
        now=now,
        unsubscribe_url="https://example.com/u/preview",
        preferences_url="https://example.com/u/preview/preferences",
        live=parts["live"],
    )
    try:
        rendered = render(template, names)
    except TemplateFailed as error:
        raise BadInput(
            f"{template.name.path} fails: {error}",
            hint="at sending, this message would be dropped with the reason template_error",
        ) from error
    if (name, channel) in advertising(workspace.flows.values()):
        policies = workspace.settings.policies
        rendered = replace(rendered, body=with_address(policies, channel, rendered.body))
    size = size_of(rendered.body.strip()) if channel == "sms" else None
    warnings = [*_empty(template, names), *_odd(rendered, channel, size)]
    kind = None if size is None else _kind(rendered, size)
    return Preview(template.name.path, rendered, size, kind, tuple(warnings))


def _kind(rendered: Rendered, size: SmsSize) -> str:
    carried = size.kind != "too long" and rendered.parts.get("image")
    return "MMS" if carried else size.kind


def _parts(sample: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    unknown = sorted(sample.keys() - set(SAMPLE_KEYS))
    if unknown:
        raise BadInput(
            f"the sample has a key `{unknown[0]}`", hint=nearest(unknown[0], SAMPLE_KEYS)
        )
    parts = {key: sample.get(key) or {} for key in SAMPLE_KEYS}
    for key, value in parts.items():
        if not isinstance(value, dict):
            raise BadInput(f"`{key}` of the sample is no mapping", hint=f"{key}: {{name: value}}")
    return parts


def _template(workspace: Workspace, name: str, channel: str, locale: str | None) -> Template:
    found = choose(workspace.templates, name, channel, locale)
    if found is not None:
        return found
    names = {template.name.name for template in workspace.templates.values()}
    if name not in names:
        raise BadInput(f"there is no template `{name}`", hint=nearest(name, names))
    channels = {t.name.channel for t in workspace.templates.values() if t.name.name == name}
    raise BadInput(
        f"templates/{name} has no file for {channel}", hint=f"it has {', '.join(sorted(channels))}"
    )


def _odd_title(rendered: Rendered, size: SmsSize) -> list[str]:
    title = rendered.parts.get("title") or rendered.parts.get("subject", "")
    kind, head = _kind(rendered, size), size_of(title)
    if kind == "SMS":
        return ["an SMS carries no title: this one would not be shown"] if title else []
    if head.bytes > SUBJECT_BYTES:
        return [f"the title has {head.bytes} bytes in cp949; at most {SUBJECT_BYTES} are carried"]
    return []


def _empty(template: Template, names: Mapping[str, Any]) -> list[str]:
    warnings = []
    for variable in template.variables:
        value: Any = names
        for part in variable.path:
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is None or value == "":
            shown = ".".join(variable.path)
            place = f"{template.name.path}:{variable.line}:{variable.column}"
            warnings.append(f"{place}: `{shown}` is empty for this customer")
    return warnings


def _odd(rendered: Rendered, channel: str, size: SmsSize | None) -> list[str]:
    warnings = []
    if size is not None and size.unsendable:
        signs = " ".join(size.unsendable)
        warnings.append(f"Korean carriers cannot carry {signs}: {hint_for(size.unsendable)}")
    if size is not None and size.kind == "too long":
        warnings.append(f"{size.bytes} bytes are more than the 2,000 that a Korean LMS may have")
    if size is not None:
        warnings += _odd_title(rendered, size)
    subject = rendered.parts.get("subject", "")
    if channel == "email" and not subject:
        warnings.append("the subject is empty")
    if len(subject) > _LONG_SUBJECT:
        warnings.append(f"the subject has {len(subject)} characters; mailboxes show some 35 to 60")
    length = len(rendered.body.encode())
    if rendered.html and length > CLIPPED_AT:
        warnings.append(f"the mail has {length:,} bytes; Gmail clips mails of more than 102 KB")
    return warnings
