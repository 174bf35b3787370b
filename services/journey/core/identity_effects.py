"""What the core wants done where two ids turn out to be one customer."""

from datetime import datetime

import msgspec

from services.journey.core.merge import Merge, Record
from shared.event import Event


class Link(msgspec.Struct, frozen=True, gc=False):
    """Tell the owner of another id, through the log, that it belongs to this customer."""

    anonymous_id: str
    alias: bool
    """Whether an `alias` call named it: then it may be a user's id as well."""
    at: datetime


class Forward(msgspec.Struct, frozen=True, gc=False):
    """An event for the customer whom this id belongs to, through the log."""

    event: Event


class Belong(msgspec.Struct, frozen=True, gc=False):
    """The id belongs to this customer from now on; empty: it is a customer of its own again."""

    to: str


class MoveOut(msgspec.Struct, frozen=True, gc=False):
    """Send what the row held, and what the tables hold of this id, to the customer it belongs to.

    The shell adds to `packed` what stands in tables of its own: messages without an attempt, places
    under caps, consent, and the oldest part of the history. `base` names the parts uniquely.
    """

    to: str
    base: str
    packed: Merge
    at: datetime


class CarryOn(msgspec.Struct, frozen=True, gc=False):
    """Send the next part of a long history."""

    to: str
    base: str
    part: int
    at: datetime


class LetGo(msgspec.Struct, frozen=True, gc=False):
    """A message that stayed behind may have been decided: then the profile kept for it can go."""


class TakeRow(msgspec.Struct, frozen=True, gc=False):
    """An event that another id has taken in, for the history."""

    event: Event


class TakeRecord(msgspec.Struct, frozen=True, gc=False):
    """A row that another id's owner had in a table of its own: a message, a place, consent."""

    record: Record


class GiveBack(msgspec.Struct, frozen=True, gc=False):
    """A message that another id's partition decided used no place under the caps after all."""

    message_id: str


IdentityEffect = (
    Link | Forward | Belong | MoveOut | CarryOn | LetGo | TakeRow | TakeRecord | GiveBack
)
