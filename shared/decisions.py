"""What can become of a message or an entry, and why: one enum each, used everywhere."""

from enum import StrEnum
from typing import Literal

Decision = Literal["sent", "dropped", "failed", "unknown"]
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
    REJECTED = "rejected"
    UNDELIVERABLE = "undeliverable"
    RETRIES_EXHAUSTED = "retries_exhausted"


class Refusal(StrEnum):
    """Why an event started no run, in the order in which it is tested."""

    NOT_MATCHED = "not_matched"
    TOO_OLD = "too_old"
    PAUSED = "paused"
    ALREADY_RUNNING = "already_running"
    REENTRY = "reentry"
    ENTRY_CONDITION = "entry_condition"
    ERASED = "erased"
