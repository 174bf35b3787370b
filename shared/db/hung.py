"""Take from processes that hang what others wait for.

A process that is stopped or whose network is cut closes no connection: what its session has locked
stays locked until TCP misses it, which may be hours. `UNLESS_HUNG` (connect.py) has the server end
a transaction whose client says nothing between two statements. It does not see two others: a client
that hangs within a COPY, whose session counts as active, and one that hangs with a lock of its
session. The processes that stand for leader look for these, each at every look.
"""

import asyncpg
import structlog

logger = structlog.get_logger()

LOOKING = "dangol-leader"
"""The name of the connections that call `free` about once a second."""
_WITHIN = 5
"""Seconds that a statement may wait for its client to send or to take data."""
_UNSEEN = 10
"""Seconds without a look after which one that looked hangs: longer than a process is ever busy."""

_FREE = f"""
SELECT application_name, pid, pg_terminate_backend(pid) AS ended FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
  AND (application_name LIKE 'dangol-%' AND state = 'active' AND wait_event_type = 'Client'
      AND state_change < clock_timestamp() - interval '{_WITHIN} seconds'
    OR application_name = '{LOOKING}' AND state = 'idle'
      AND state_change < clock_timestamp() - interval '{_UNSEEN} seconds')
"""  # noqa: S608 - our own texts


async def free(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """End the sessions of hung clients. Whoever only seemed to hang meets a lost connection, which
    everybody here can deal with.

    Raises what a lost connection raises.
    """
    for row in await connection.fetch(_FREE):
        logger.warning(
            "ended the database session of a process that hangs",
            action="hung_session_ended",
            application=row["application_name"],
            backend=row["pid"],
            ended=row["ended"],
        )
