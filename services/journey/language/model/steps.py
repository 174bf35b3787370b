"""The steps of a journey, one model per kind; the key that is present says which it is."""

from datetime import timedelta
from typing import Annotated, ClassVar, Literal, Union

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from services.journey.language.model.fields import (
    Address,
    Anything,
    Clock,
    Condition,
    Id,
    Located,
    Number,
    Offset,
    Span,
    Whole,
    Word,
    kinds_in,
    mistake,
    one_or_more,
    text_of,
)
from services.journey.language.model.triggers import EventCondition
from services.journey.language.tree import Scalar

Weekday = Annotated[
    Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], BeforeValidator(text_of)
]


class BaseStep(Located):
    kind: ClassVar[str]
    id: Id | None = None


class Wait(BaseStep):
    kind = "wait"
    wait: Span


class Moment(Located):
    """A time of day on certain weekdays, or a date with an offset."""

    time: Clock | None = None
    weekdays: Annotated[tuple[Weekday, ...], Field(min_length=1)] | None = None
    date: Condition | None = None
    offset: Offset | None = None
    missing: Annotated[Literal["skip", "exit"], BeforeValidator(text_of)] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> "Moment":
        if self.date is None:
            if self.offset is not None or self.missing is not None:
                raise mistake("`offset` and `missing` belong to a `date`, which is not here")
            if self.time is None:
                raise mistake("`wait_until` needs a `time`, or a `date`")
        elif self.weekdays is not None:
            raise mistake("`weekdays` belong to a `time` of day, not to a `date`")
        return self


class WaitUntil(BaseStep):
    kind = "wait_until"
    wait_until: Moment


class Awaited(Located):
    """One event or any of several, until the timeout."""

    event: Word | None = None
    where: Condition | None = None
    any: Annotated[tuple[EventCondition, ...], Field(min_length=1)] | None = None
    timeout: Span

    @model_validator(mode="after")
    def _one_form(self) -> "Awaited":
        if (self.event is None) == (self.any is None):
            raise mistake("`wait_for` needs either `event` or `any`")
        if self.any is not None and self.where is not None:
            raise mistake("`where` belongs to each event of `any`")
        return self


class WaitFor(BaseStep):
    kind = "wait_for"
    wait_for: Awaited
    then: "tuple[Step, ...]" = ()
    timed_out: "tuple[Step, ...]" = ()


class When(Located):
    when: Condition
    steps: "tuple[Step, ...]"


class Otherwise(Located):
    otherwise: "tuple[Step, ...]"


ARM_KINDS = ("when", "otherwise")

Arm = Annotated[
    Union[Annotated[When, Tag("arm:when")], Annotated[Otherwise, Tag("arm:otherwise")]],  # noqa: UP007
    Discriminator(
        lambda node: next((f"arm:{kind}" for kind in kinds_in(node, ARM_KINDS)), None),
        "kind", "kind", {"kinds": ARM_KINDS, "what": "an arm of a branch"},
    ),
]  # fmt: skip


class Branch(BaseStep):
    kind = "branch"
    branch: Annotated[tuple[Arm, ...], Field(min_length=1)]


class Variant(Located):
    variant: Word
    weight: Annotated[Number, Field(ge=0, le=1_000_000)]
    steps: "tuple[Step, ...]"


class Split(BaseStep):
    kind = "split"
    split: Annotated[tuple[Variant, ...], Field(min_length=1)]


class Send(BaseStep):
    kind = "send"
    send: Word
    template: Word
    else_: Annotated[tuple[Word, ...], BeforeValidator(one_or_more)] = Field((), alias="else")
    with_: dict[str, Anything] = Field(default_factory=dict, alias="with")


class Set(BaseStep):
    kind = "set"
    set: Annotated[dict[str, Anything], Field(min_length=1)]

    @model_validator(mode="after")
    def _traits_only(self) -> "Set":
        for name in self.set:
            if not name.startswith("profile.") or name == "profile.":
                raise mistake(
                    f"`set` writes traits, and `{name[:60]}` is none",
                    f"write `profile.{name.rsplit('.', 1)[-1][:60]}`",
                )
        return self


class Emit(BaseStep):
    kind = "emit"
    emit: Word
    properties: dict[str, Anything] = Field(default_factory=dict)


SHORTEST_CALL, LONGEST_CALL = timedelta(seconds=1), timedelta(seconds=20)


class CallUrl(BaseStep):
    kind = "call"
    call: Address
    with_: dict[str, Anything] = Field(default_factory=dict, alias="with")
    timeout: Span | None = None

    @model_validator(mode="after")
    def _in_time(self) -> "CallUrl":
        if self.timeout is not None and not SHORTEST_CALL <= self.timeout <= LONGEST_CALL:
            raise mistake(
                "the `timeout` of a call is between 1s and 20s",
                "it is for one try; a call that fails is tried again for hours",
            )
        return self


class Rounds(Located):
    times: Annotated[Whole, Field(ge=1, le=1_000)]
    every: Span | None = None
    until: Condition | None = None
    steps: "Annotated[tuple[Step, ...], Field(min_length=1)]"


class Repeat(BaseStep):
    kind = "repeat"
    repeat: Rounds


class Exit(BaseStep):
    kind = "exit"
    exit: Word


_MODELS = (Wait, WaitUntil, WaitFor, Branch, Split, Send, Set, Emit, CallUrl, Repeat, Exit)
STEP_KINDS = tuple(model.kind for model in _MODELS)


def _kind(node: object) -> str | None:
    present = kinds_in(node, STEP_KINDS)
    return f"step:{present[0]}" if len(present) == 1 else None


Step = Annotated[
    Union[  # noqa: UP007 - the tags read better one below the other
        Annotated[Wait, Tag("step:wait")],
        Annotated[WaitUntil, Tag("step:wait_until")],
        Annotated[WaitFor, Tag("step:wait_for")],
        Annotated[Branch, Tag("step:branch")],
        Annotated[Split, Tag("step:split")],
        Annotated[Send, Tag("step:send")],
        Annotated[Set, Tag("step:set")],
        Annotated[Emit, Tag("step:emit")],
        Annotated[CallUrl, Tag("step:call")],
        Annotated[Repeat, Tag("step:repeat")],
        Annotated[Exit, Tag("step:exit")],
    ],
    Discriminator(_kind, "kind", "kind", {"kinds": STEP_KINDS, "what": "a step"}),
]


def blocks(step: BaseStep) -> list[tuple[int, tuple["Step", ...]]]:
    """The lists of steps within a step, numbered from 1 in the order of the file."""
    match step:
        case Branch(branch=arms):
            lists = [arm.steps if isinstance(arm, When) else arm.otherwise for arm in arms]
        case Split(split=variants):
            lists = [variant.steps for variant in variants]
        case WaitFor(then=then, timed_out=timed_out):
            lists = [then, timed_out]
        case Repeat(repeat=rounds):
            lists = [rounds.steps]
        case _:
            lists = []
    return list(enumerate(lists, start=1))


def key_scalar(step: BaseStep) -> Scalar:
    """The word that says what kind of step it is."""
    return step.node.keys_at[step.kind]
