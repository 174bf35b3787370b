"""What a provider says of a message after it has taken it, kept with the attempt it speaks of.

A person reads there why something failed: the code, and the words where there are any. They are
bounded, on one line, and name nobody: addresses and numbers are taken out, also those that the
report does not call the recipient's.
"""

import re
from typing import Any

from services.dispatch.channels.provider import words
from shared.db.connect import Connection

LONGEST = 300
_SOMEBODY = re.compile(
    r"[^\s<>\"'(),:;]+@[^\s<>\"'(),:;]+|\+?\d{9,}|\+?\d{1,3}(?:[ -]\d{1,4})?[ -]\d{3,4}[ -]\d{4}"
)
"""Mail addresses, and what looks like a telephone number."""
_BETWEEN = "; "

# A report speaks of what was last handed to that channel's provider.
_ATTEMPT = """
SELECT a.number, a.adapter, a.detail FROM attempts a
WHERE a.partition = $1 AND a.message_id = $2 AND a.channel = $3
  AND ($4::text IS NULL OR a.adapter = $4)
ORDER BY a.number DESC LIMIT 1
"""
_NOTE = """
UPDATE attempts SET detail = left(coalesce(nullif(detail, '') || '; ', '') || $4, 40000)
WHERE partition = $1 AND message_id = $2 AND number = $3
"""


def told(said: str, address: str = "") -> str:
    """A provider's words as they may be kept and shown."""
    bare = _SOMEBODY.sub("…", words(said, address))
    return bare.replace(";", ",")[:LONGEST].strip()


async def attempt_of(
    connection: Connection, key: tuple[int, str], channel: str, adapter: str | None = None
) -> Any | None:
    """number, adapter, detail."""
    return await connection.fetchrow(_ATTEMPT, *key, channel, adapter)


def is_known(attempt: Any, said: str) -> bool:
    return f"report: {said}" in (attempt["detail"] or "").split(_BETWEEN)


async def note(connection: Connection, key: tuple[int, str], number: int, said: str) -> None:
    await connection.execute(_NOTE, *key, number, f"report: {said}")
