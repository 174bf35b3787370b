"""Rows for COPY in PostgreSQL's binary format, written without the driver's codecs.

The driver's own way costs a tuple and a codec call for each value; rows of one shape are cheaper
written as a few pieces of bytes. Source: PostgreSQL's documentation of COPY, "Binary Format": per
row the number of its fields, then each field's length and value.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta

from shared.clock import EPOCH
from shared.db.connect import Connection

_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = b"\xff\xff"
EPOCH_2000 = 946_684_800_000_000
"""Microseconds from 1970 to the zero of PostgreSQL's timestamps."""
_ZERO = EPOCH + timedelta(microseconds=EPOCH_2000)


def micros(at: datetime) -> int:
    """An aware instant as PostgreSQL keeps it."""
    since = at - _ZERO
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def text(value: str) -> bytes:
    """A field of text, or of what is sent as text: its length and its bytes."""
    raw = value.encode()
    return len(raw).to_bytes(4, "big") + raw


async def copy_in(
    connection: Connection, table: str, columns: Sequence[str], parts: Sequence[bytes]
) -> None:
    """`parts` are the rows, in as many pieces as were convenient."""
    await connection.copy_to_table(
        table,
        source=_one_piece(b"".join((_HEAD, *parts, _END))),
        columns=columns,
        format="binary",
    )


async def _one_piece(data: bytes) -> AsyncIterator[bytes]:
    """What is no file is not read in a thread."""
    yield data
