"""What can become of a message or an entry, and why: one enum each, used everywhere."""

from enum import StrEnum
from typing import Literal

Decision = Literal["sent", "dropped", "failed", "unknown"]
CallOutcome = Literal["sent", "dropped", "failed"]
"""Every try of a call bears the same id, so one that may have arrived is tried again."""
Category = Literal["marketing", "transactional"]


class Reason(StrEnum):
    """Why a message was not (or not simply) sent."""

    RUN_ENDED = "run_ended"
    HELD_OUT = "held_out"
    NO_CONSENT = "no_consent"
    UNSUBSCRIBED = "unsubscribed"
    SUPPRESSED = "suppressed"
    NO_ADDRESS = "no_address"
    QUIET_HOURS = "quiet_hours"
    FREQUENCY_CAP = "frequency_cap"
    EXPIRED = "expired"
    CHANNEL_PAUSED = "channel_paused"
    TEMPLATE_ERROR = "template_error"
    NO_LONGER_TRUE = "no_longer_true"
    """The live source that the template asks says that its claim does not hold any more."""
    NOT_VERIFIED = "not_verified"
    """That source could not be asked, and the template does not say `on_error: send`."""
    REJECTED = "rejected"
    UNDELIVERABLE = "undeliverable"
    RETRIES_EXHAUSTED = "retries_exhausted"
    BAD_ANSWER = "bad_answer"
    """A call was taken, and its answer cannot be used."""


MESSAGE_REASONS = tuple(reason for reason in Reason if reason is not Reason.BAD_ANSWER)
CALL_REASONS = (
    Reason.HELD_OUT,
    Reason.REJECTED,
    Reason.UNDELIVERABLE,
    Reason.RETRIES_EXHAUSTED,
    Reason.BAD_ANSWER,
)
"""What `steps.<id>.reason` of a call may be."""


class Refusal(StrEnum):
    """Why an event started no run, in the order in which it is tested."""

    NOT_MATCHED = "not_matched"
    TOO_OLD = "too_old"
    PAUSED = "paused"
    ALREADY_RUNNING = "already_running"
    REENTRY = "reentry"
    ENTRY_CONDITION = "entry_condition"
    ERASED = "erased"
