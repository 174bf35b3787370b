"""What the API answers, field by field."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from services.console.changes import Kind
from shared.decisions import Category, Decision
from shared.keys import KeyKind, Role

Status = Literal["active", "paused", "archived"]
MessageStatus = Literal["staged", "queued", "attempting", "decided"]


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class Failure(Answer):
    """Every error: `code` for programs, `message` for people, `hint` on how to mend it."""

    code: str = Field(examples=["unauthorized"])
    message: str = Field(examples=["the token is unknown or revoked"])
    hint: str | None = Field(default=None, examples=["`dangol key create NAME` makes one"])


class ProblemRow(Answer):
    """A mistake in the workspace; lines and columns count from 1."""

    severity: Literal["error", "warning"] = "error"
    """A warning refuses nothing."""
    file: str = Field(examples=["journeys/cart.yaml"])
    line: int = Field(examples=[6])
    column: int = Field(examples=[11])
    code: str = Field(examples=["unit"])
    message: str = Field(examples=["`1 fortnight` is no duration"])
    hint: str = Field(examples=["write numbers with w, d, h, m, s, as in 1h30m"])
    rendered: str
    """The message with the line, a caret under the spot, and the hint, as a terminal shows it."""


class RefusedWorkspace(Failure):
    code: str = Field(examples=["invalid_workspace"])
    message: str = Field(examples=["the workspace has 2 problems"])
    problems: list[ProblemRow] = []


class InFlightRow(Answer):
    version: int = Field(examples=[2])
    step: str = Field(examples=["wait-1h"])
    runs: int = Field(examples=[128])
    migrates: bool
    """Whether `in_flight=migrate` would move them to the new version."""


class JourneyChangeRow(Answer):
    journey: str = Field(examples=["cart-abandonment"])
    change: Kind
    file: str = Field(examples=["journeys/cart.yaml"])
    version: int | None = Field(examples=[3])
    """The version that new entries would start; null for a removed journey."""
    was: int | None = Field(examples=[2])
    is_new: bool
    """False where this very content is a version already, for example after a step back."""
    diff: str
    in_flight: list[InFlightRow] = []
    """Live runs by version and step. Counted by a plan, not by an apply."""
    moves: int = Field(default=0, examples=[100])
    """How many runs on other versions `in_flight=migrate` would move to this one; with `pin` all
    of them go on as they are."""
    stays: int = Field(default=0, examples=[28])
    """How many `migrate` would leave on their version."""
    ends: int = Field(default=0, examples=[128])
    """How many `in_flight=end` would end."""
    warnings: list[str] = []


class FileChangeRow(Answer):
    file: str = Field(examples=["templates/cart-reminder/push.liquid"])
    change: Kind
    diff: str


class PlanAnswer(Answer):
    base_revision: int = Field(examples=[7])
    """Give it to the apply as `base_revision`: it is refused if somebody was faster."""
    hash: str
    identical: bool
    """True if an apply would change nothing."""
    journeys: list[JourneyChangeRow]
    files: list[FileChangeRow]
    warnings: list[str] = Field(default=[], examples=[["consent is assumed and was required: …"]])
    """Of the workspace as a whole; those of one journey stand with it."""
    file_warnings: list[ProblemRow] = []
    """Those with a place in a file."""


class AppliedAnswer(Answer):
    changed: bool
    """False where the very same workspace had been published already."""
    revision: int = Field(examples=[8])
    hash: str
    active_from: datetime
    """Events received from then on meet the new revision."""
    in_flight: Literal["pin", "migrate", "end"] = "pin"
    """What becomes of the runs that other versions of the changed journeys have in flight."""
    journeys: list[JourneyChangeRow]
    files: list[FileChangeRow]


class WorkspaceAnswer(Answer):
    revision: int = Field(examples=[8])
    """0 where nothing has been published yet."""
    hash: str | None
    active_from: datetime | None
    applied_by: str | None = Field(examples=["kim"])
    journeys: dict[str, int] = Field(examples=[{"cart-abandonment": 3, "welcome": 1}])
    """Journey id → the version that new entries start."""


class JourneyRow(Answer):
    id: str = Field(examples=["cart-abandonment"])
    title: str = Field(examples=["장바구니 이탈 리마인드"])
    status: Status
    version: int | None = Field(examples=[3])
    """The version that new entries start; null if its file is no longer published."""
    entered: int = Field(examples=[1520])
    live: int = Field(examples=[128])
    """Runs that have begun and not ended."""
    ended: int = Field(examples=[1392])
    refused: int = Field(examples=[64])


class StepRow(Answer):
    step: str = Field(examples=["first-nudge"])
    kind: str | None = Field(examples=["send"])
    """Null for a step that only older versions have."""
    reached: int = Field(examples=[1400])
    ended: dict[str, int] = Field(examples=[{"exit": 310}])
    """Runs that ended here, by reason."""


class MessageCount(Answer):
    channel: str | None = Field(examples=["push"])
    decision: Decision | None
    """Null for messages that are not decided yet."""
    reason: str | None = Field(examples=["frequency_cap"])
    messages: int = Field(examples=[42])


class JourneyAnswer(JourneyRow):
    file: str | None = Field(examples=["journeys/cart.yaml"])
    steps: list[StepRow]
    """In the order of the file."""
    ended_by: dict[str, int] = Field(examples=[{"completed": 1000, "exit": 392}])
    refused_by: dict[str, int] = Field(examples=[{"already_running": 60, "too_old": 4}])
    held_out_by: dict[str, int] = Field(examples=[{"workspace": 70, "journey": 150}])
    """How many of those who entered are held out, and by whose holdout."""
    migrated: int = Field(examples=[40])
    """How many runs an apply has moved to a newer version."""
    messages: list[MessageCount]


class GraphAnswer(Answer):
    journey: str = Field(examples=["cart-abandonment"])
    version: int | None = Field(examples=[3])
    """Null for a workspace that is not published."""
    svg: str
    mermaid: str


class StatusAnswer(Answer):
    id: str = Field(examples=["cart-abandonment"])
    status: Status
    was: Status


class RfmSegmentRow(Answer):
    id: str = Field(examples=["champions"])
    title_en: str = Field(examples=["Champions"])
    title_ko: str = Field(examples=["최우수 고객"])
    customers: int
    share: float = Field(description="Of all that are scored, 0 to 1")


class RfmAnswer(Answer):
    scored_at: datetime | None = Field(description="When customers were last scored")
    customers: int = Field(description="Those who have bought within the window")
    small_sample: bool = Field(description="Too few for the bands to say much")
    segments: list[RfmSegmentRow]


class ScoredAnswer(Answer):
    at: datetime
    changed: int = Field(description="Customers whose score is another one")


class PassedOver(BaseModel):
    """A channel that was passed over for the next one of `else`."""

    model_config = ConfigDict(extra="allow", frozen=True)
    channel: str | None = Field(default=None, examples=["brand_message"])
    reason: str | None = Field(default=None, examples=["no_consent"])


class BrokenConnection(Answer):
    adapter: str = Field(examples=["solapi"])
    """Empty where the channel is not set up at all."""
    since: datetime
    again_at: datetime
    tries: int = Field(examples=[7])
    """In a row, that found it broken."""
    error: str = Field(examples=["401 invalid API key"])
    """What the provider or the settings said last, without addresses and secrets."""


class HeldBecause(Answer):
    """Of a message that waits for its channel."""

    said: str = Field(examples=["The connection of sms (solapi) has been broken since …"])
    mend: str = Field(examples=["Mend what the error names."])
    connections: list[BrokenConnection]
    """What running dispatchers find broken; none where none of them says so any more."""


class MessageRow(Answer):
    at: datetime | None
    """When it was decided; null if it is not yet."""
    customer: str = Field(examples=["u1"])
    journey: str = Field(examples=["cart-abandonment"])
    step: str = Field(examples=["first-nudge"])
    channel: str = Field(examples=["push"])
    """The channel it was decided on; the first to be tried if it is not decided yet."""
    decision: Decision | None
    reason: str | None = Field(examples=[None])
    detail: str | None = Field(examples=[None])
    """What stands behind `template_error`: the rule that the filled-in text breaks, such as
    `kr-marketing/push-refusal`, or the kind of failure; and behind `channel_paused`, where too many
    have complained about the sender's mail."""
    provider_said: str | None = Field(examples=["alimtalk: report: 3104"])
    """The provider's own code and words of the last attempt that has any, reports included: why it
    failed. With the channel before it where that was passed over."""
    id: str
    created_at: datetime
    provider_id: str | None
    attempts: int = Field(examples=[1])
    template: str = Field(examples=["cart-reminder"])
    version: int = Field(examples=[3])
    category: Category
    held_out: bool
    channels: list[str] = Field(examples=[["brand_message", "sms"]])
    passed_over: list[PassedOver]
    status: MessageStatus
    held_reason: str | None
    """Why an undecided message waits, such as `quiet_hours`."""
    not_before: datetime | None
    """When an undecided message is looked at again."""
    held_because: HeldBecause | None = None
    """Of one that waits for its channel (`channel_paused`): what is broken, and what mends it."""


class RunRow(Answer):
    id: str
    journey: str = Field(examples=["cart-abandonment"])
    version: int = Field(examples=[3])
    key: str = Field(examples=["c1"])
    entered_at: datetime
    step: str = Field(examples=["wait-1h"])
    since: datetime | None
    """When it came to the step; null where that is not kept."""
    until: datetime | None
    """When it goes on by itself; null while it waits for something else."""
    waits_for_message: str | None
    """The id of the message whose decision it waits for."""
    held_out: bool
    held_by: Literal["workspace", "journey"] | None
    """Whose holdout it fell into."""


class ConsentRow(Answer):
    channel: str = Field(examples=["email"])
    granted: bool
    stated_at: datetime


class AbsentRow(Answer):
    """A trait that is there and counts as absent."""

    trait: str = Field(examples=["timezone"])
    why: str = Field(examples=["`Mars/Olympus` is no IANA time zone; Asia/Seoul is used"])


class CustomerAnswer(Answer):
    id: str = Field(examples=["u1"])
    traits: dict[str, Any] = Field(examples=[{"email": "a@example.com", "locale": "ko"}])
    runs: list[RunRow]
    consents: list[ConsentRow]
    asked_for: str | None = Field(default=None, examples=["anon-17"])
    """The id that was asked for, where it belongs to this customer."""
    linked: list[str] = Field(default=[], examples=[["anon-17"]])
    """Other ids that belong to this customer: at most 100."""
    absent: list[AbsentRow] = []
    """Traits that count as absent, and why."""


class KeyRow(Answer):
    id: str = Field(examples=["key_0123456789ab"])
    name: str = Field(examples=["web"])
    role: Role
    created_at: datetime
    revoked_at: datetime | None = None
    kind: KeyKind = "secret"
    """A browser key may post events and nothing else. Of write keys only."""
    rate: float | None = Field(default=None, examples=[100.0])
    """Events a second."""
    daily: int | None = Field(default=None, examples=[1000000])
    """Events a day (UTC)."""


class NewKey(KeyRow):
    key: str = Field(examples=["c0123456789abcdefghijklmn"])
    """The key itself: shown this once, kept nowhere."""


class AsideRow(Answer):
    id: int = Field(examples=[1])
    at: datetime
    source: str = Field(examples=["web"])
    """The write key's name; `log` for a record of the log that the engine could not take in."""
    reason: str = Field(examples=["no_identity"])
    replayed_at: datetime | None
    replayed_by: str | None
    bytes: int = Field(examples=[412])


class AsideContent(AsideRow):
    payload: str
    """As it came, cut at the size limit of an event. Personal data."""


class AsideCount(Answer):
    source: str = Field(examples=["web"])
    reason: str = Field(examples=["no_identity"])
    waiting: int = Field(examples=[12])
    replayed: int = Field(examples=[3])
    last_at: datetime


class ReplayRow(Answer):
    id: int = Field(examples=[1])
    events: list[str]
    """Ids of the events that were put into the log; none if it had been replayed before."""


class UnmendedRow(Answer):
    id: int = Field(examples=[2])
    why: str = Field(examples=["it cannot be used still: no_identity"])


class ReplayAnswer(Answer):
    replayed: list[ReplayRow]
    left: list[UnmendedRow]


class ReplayWish(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    payload: dict[str, Any] = Field(
        examples=[{"type": "track", "userId": "u1", "event": "Product Added"}]
    )
    """The mended event, in the form in which SDKs send it."""


class KeyWish(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = Field(examples=["web"])
    role: Role = "write"
    kind: KeyKind = "secret"
    rate: str | None = Field(default=None, examples=["100/s"])
    daily: int | None = Field(default=None, examples=[1000000])


class WatcherRow(Answer):
    """A journey that entering or leaving a segment starts."""

    journey: str = Field(examples=["win-back"])
    on: Literal["enter", "exit"]


class SegmentRow(Answer):
    name: str = Field(examples=["lapsed"])
    title: str = Field(examples=["이탈 위험"])
    where: str = Field(
        examples=['did("Order Completed") and not did("Order Completed", within="90d")']
    )
    members: int | None = Field(examples=[1284])
    """Customers inside now; null where they were not counted, or could not be in time."""
    exact: bool
    """False where the condition is too intricate for SQL: `members` may then be too many."""
    watched_by: list[WatcherRow]
