"""A journey file, a segment file and a tests file, as they are written."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from services.journey.language.model.fields import (
    Condition,
    Data,
    Id,
    Instant,
    Located,
    Reentry,
    Share,
    Span,
    Whole,
    Word,
    YesNo,
    mistake,
    text_of,
)
from services.journey.language.model.steps import Step
from services.journey.language.model.triggers import EventCondition, Trigger
from shared.decisions import Decision, Reason


class Entry(Located):
    key: Condition | None = None
    when_active: Annotated[Literal["ignore", "restart"], BeforeValidator(text_of)] = "ignore"
    reentry: Reentry = "always"
    where: Condition | None = None
    max_age: Span | None = None
    holdout: Share = 0.0


class Goal(EventCondition):
    within: Span | None = None
    value: Condition | None = None


Band = Annotated[Whole, Field(ge=1, le=5)]


class TestScore(Located):
    """What a night's scoring would have found."""

    recency: Band
    frequency: Band
    monetary: Band | None = None


class TestCustomer(Located):
    id: Word | None = None
    anonymous_id: Word | None = None
    traits: dict[str, Data] = Field(default_factory=dict)
    rfm: TestScore | None = None


ReceiptWord = Literal["delivered", "opened", "clicked", "bounced", "complained"]


class TestEvent(Located):
    """What the customer does: an event, new traits, or both; `after` counts from the line above."""

    after: Span | None = None
    at: Instant | None = None
    anonymous: Word | None = None
    """The device from this line on, on which nobody has logged in yet."""
    user: Word | None = None
    """Who is logged in from this line on; alone on its line it is the login itself."""
    event: Word | None = None
    catalog: Word | None = None
    """An event that belongs to no customer."""
    properties: dict[str, Data] = Field(default_factory=dict)
    context: dict[str, Data] = Field(default_factory=dict)
    traits: dict[str, Data] = Field(default_factory=dict)
    receipt: Annotated[ReceiptWord, BeforeValidator(text_of)] | None = None
    """What becomes of the newest message that was sent on `channel`."""
    channel: Word | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "TestEvent":
        happens = (self.event, self.catalog, self.receipt, self.user)
        if all(each is None for each in happens) and not self.traits:
            raise mistake(
                "an `event` is missing here, or `traits`, a login (`user`) or a `receipt`"
            )
        if (self.catalog or self.receipt) and (self.user or self.anonymous):
            raise mistake("`user` and `anonymous` belong to what the customer does")
        if self.catalog is not None and (self.event is not None or self.context):
            raise mistake("a `catalog` event has `properties` only, and a line of its own")
        if (self.receipt is None) != (self.channel is None):
            raise mistake("`receipt` and `channel` belong together")
        if self.receipt is not None and (self.event or self.catalog or self.traits):
            raise mistake("a `receipt` stands on a line of its own")
        if self.after is not None and self.at is not None:
            raise mistake("`after` and `at` exclude each other")
        return self


class StubbedCall(Located):
    """What a `call` is answered in a test: nothing leaves the house."""

    status: Annotated[Whole, Field(ge=100, le=599)] = 200
    response: Data = None

    @model_validator(mode="after")
    def _fits(self) -> "StubbedCall":
        if self.response is not None and not 200 <= self.status < 300:
            raise mistake(
                "only an answer with a status of 2xx has a `response`", "leave one of them out"
            )
        return self


class ExpectedMessage(Located):
    step: Word | None = None
    channel: Word | None = None
    template: Word | None = None
    at: Instant | None = None
    after: Span | None = None
    decision: Annotated[Decision, BeforeValidator(text_of)] | None = None
    reason: Annotated[Reason, BeforeValidator(text_of)] | None = None


class Ended(Located):
    reason: Word | None = None
    step: Word | None = None
    at: Instant | None = None


class Expected(Located):
    entered: YesNo | None = None
    sent: tuple[ExpectedMessage, ...] | None = None
    decided: tuple[ExpectedMessage, ...] | None = None
    ended: Ended | None = None


class JourneyTest(Located):
    name: Word
    at: Instant
    customer: TestCustomer
    events: Annotated[tuple[TestEvent, ...], Field(min_length=1)] = ()
    """May be left out where the clock starts the journey."""
    calls: dict[str, StubbedCall] = Field(default_factory=dict)
    """By step id, of a `call` or of a send whose template asks a live source; a call without one is
    answered with nothing, and a claim without one holds."""
    until: Span | None = None
    expect: Expected


Stage = Literal["acquisition", "activation", "retention", "referral", "revenue"]


class Journey(Located):
    journey: Id
    title: Word | None = None
    stage: Annotated[Stage, BeforeValidator(text_of)] | None = None
    category: Annotated[Literal["marketing", "transactional"], BeforeValidator(text_of)] = (
        "marketing"
    )
    priority: Annotated[Whole, Field(ge=0, le=100)] = 50
    trigger: Trigger
    entry: Entry | None = None
    exit: tuple[EventCondition, ...] = ()
    goal: Goal | None = None
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]
    tests: tuple[JourneyTest, ...] = ()


class Segment(Located):
    segment: Id
    title: Word | None = None
    where: Condition


class TestsFile(Located):
    journey: Id
    tests: Annotated[tuple[JourneyTest, ...], Field(min_length=1)]
