"""What starts a run, and the conditions on events that end or measure it."""

from typing import Annotated, Literal, Union

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    WithJsonSchema,
)

from services.journey.core.calendar import Cron
from services.journey.language.model.cron import read_cron
from services.journey.language.model.fields import (
    Clock,
    Condition,
    Located,
    Offset,
    Word,
    Yes,
    ZoneOrCustomer,
    kinds_in,
    read,
    text_of,
)

Schedule = Annotated[
    Cron,
    PlainValidator(read(read_cron)),
    WithJsonSchema({"type": "string", "examples": ["0 10 * * mon"]}),
]


class EventCondition(Located):
    """An event, and what must be true of it."""

    event: Word
    where: Condition | None = None


class EventTrigger(EventCondition):
    audience: Condition | None = None


class AnyTrigger(Located):
    any: Annotated[tuple[EventCondition, ...], Field(min_length=1)]


class SegmentTrigger(Located):
    segment: Word
    on: Annotated[Literal["enter", "exit"], BeforeValidator(text_of)]


class ScheduleTrigger(Located):
    schedule: Schedule
    segment: Word
    timezone: ZoneOrCustomer | None = None


class DateTrigger(Located):
    date: Condition
    offset: Offset | None = None
    time: Clock | None = None
    every: Annotated[Literal["year"], BeforeValidator(text_of)] | None = None


class ApiTrigger(Located):
    api: Yes


TRIGGER_KINDS = ("any", "schedule", "date", "api", "event", "segment")
"""In the order in which they are looked for: a schedule names a segment, too."""


def _kind(node: object) -> str | None:
    present = kinds_in(node, TRIGGER_KINDS)
    return f"trigger:{present[0]}" if present else None


Trigger = Annotated[
    Union[  # noqa: UP007 - the tags read better one below the other
        Annotated[EventTrigger, Tag("trigger:event")],
        Annotated[AnyTrigger, Tag("trigger:any")],
        Annotated[SegmentTrigger, Tag("trigger:segment")],
        Annotated[ScheduleTrigger, Tag("trigger:schedule")],
        Annotated[DateTrigger, Tag("trigger:date")],
        Annotated[ApiTrigger, Tag("trigger:api")],
    ],
    Discriminator(_kind, "kind", "kind", {"kinds": TRIGGER_KINDS, "what": "a trigger"}),
]
