"""The event log's contract, written once for every adapter.

The log is a set of partitions; each is an ordered, gap-free sequence of records. An adapter
implements `EventLog` (append) and `LogReader` (one consumer's view). What holds for all of them:

**Appending.** `append` returns only when every record is durable; then, and only then, may a client
be answered 200. It either appends all of the records or raises `Unavailable`; after `Unavailable`
the records may still have been appended (a connection can die after the commit), so producers
retry with the same ids and consumers are idempotent. Records of one call and one partition keep
their order. The log stamps each record with the moment of its receipt by the log's own clock;
within a partition stamps never decrease.

**Reading.** A reader owns partitions: the log *proposes* an assignment (`assignment`), the owner
confirms it by raising the partition's epoch in Postgres. The log keeps no offsets: the owner stores
the offset it has reached in the transaction that stores what it decided, and says where to start.
`read(partition, after, limit)` returns records with offsets greater than `after`, and whether the
end was reached by this fetch. It never blocks for records; `wait` does, until something may have
been appended to the partition or the timeout has passed. Spurious wake-ups are allowed,
missed ones are bounded by the timeout.

**Log time.** While a partition has more to read, its log time is the stamp of the last record
taken in. Once a fetch reached the end, `log_time(partition, end)` returns an instant L such that
every record received at or before L has been returned, i.e. any later append is stamped after L;
or None if something has been appended behind `end` in the meantime (read again).

**Revocation.** When a partition leaves the assignment, the owner finishes or drops its batch and
lets go. Nothing is lost if it does neither: its commits fail by the epoch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import msgspec

from shared.event import Encoded, Event


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record as appended. `payload` is an encoded `Event`, or rubbish: decode guarded."""

    partition: int
    offset: int
    received_at: datetime
    payload: bytes


@dataclass(frozen=True, slots=True)
class Fetch:
    records: Sequence[Record]
    end: int
    """Offset of the last record returned, or `after` when there was none."""
    at_end: bool
    """True when nothing lay behind `end` at the moment of the fetch."""


class EventLog(Protocol):
    partitions: int

    async def append(self, events: Sequence[Event]) -> None:
        """Append durably; each event goes to the partition of its customer. Raises Unavailable."""

    async def append_encoded(self, records: Sequence[Encoded]) -> None:
        """The same, of events that were encoded for this log's number of partitions before."""


class LogReader(Protocol):
    async def assignment(self) -> frozenset[int]:
        """The partitions that this reader should own now. Raises Unavailable."""

    async def read(self, partition: int, after: int, limit: int) -> Fetch:
        """Raises Unavailable."""

    async def log_time(self, partition: int, end: int) -> datetime | None:
        """See the module's text. Raises Unavailable."""

    async def wait(self, partition: int, timeout: float) -> None:
        """Return when the partition may have news, or after `timeout` real seconds."""


class LogEnds(Protocol):
    async def ends(self) -> Mapping[int, int]:
        """Partition → the offset of its newest record, 0 without one. Raises Unavailable."""


class Log(EventLog, LogEnds, Protocol):
    """What a process needs of the log beside reading it."""

    async def trim(self, passed: Mapping[int, int], before: datetime) -> None:
        """Let go of records up to the offsets `passed`, if they were received before `before`.

        Raises Unavailable.
        """
