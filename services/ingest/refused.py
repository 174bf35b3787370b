"""What cannot be used is put aside, never thrown away: the reasons, and where it goes."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a single event cannot be used. The words are stored and shown: add, never rename."""

    NOT_AN_OBJECT = "not_an_object"
    NO_TYPE = "no_type"
    UNKNOWN_TYPE = "unknown_type"
    NO_IDENTITY = "no_identity"
    NO_NAME = "no_name"
    NO_GROUP_ID = "no_group_id"
    NO_PREVIOUS_ID = "no_previous_id"
    ID_TOO_LONG = "id_too_long"
    NAME_TOO_LONG = "name_too_long"
    TOO_LARGE = "too_large"
    TOO_DEEP = "too_deep"
    # It breaks the tracking plan, and the plan is enforced.
    PLAN_UNKNOWN_EVENT = "plan_unknown_event"
    PLAN_MISSING_PROPERTY = "plan_missing_property"
    PLAN_WRONG_TYPE = "plan_wrong_type"
    PLAN_UNLISTED_VALUE = "plan_unlisted_value"


class Unusable(Exception):
    """One event cannot be used; the others of its request are not touched by it."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Refused:
    """One event as it arrived. `raw` is its JSON, cut at the size limit of an event."""

    raw: bytes
    reason: Reason
    source: str
    """Name of the write key it came with."""
