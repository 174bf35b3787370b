"""The dispatcher's own pool, whose sessions plan as dispatch's statements need it.

Each statement touches a group of rows by their keys, so the right plan is always the same: nested
loops over index scans. Left alone, Postgres plans some of them anew for each group (which costs as
much as running them), and others once, perhaps while a table was still empty, and then walks it
whole. So the plan is pinned: made once per session, without what only pays for many rows.
"""

from shared.db.connect import Pool, open_pool

PINNED = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_bitmapscan": "off",
    "jit": "off",
}
HUNG = {"idle_in_transaction_session_timeout": "10s"}
"""What a dispatcher that hangs in the middle of a turn has claimed, others may claim."""

SIZE = 6
"""Connections: one claims, one records, two or three decide, one keeps leases."""


async def open_dispatch_pool(dsn: str, *, size: int = SIZE) -> Pool:
    """Raises DatabaseUnreachable."""
    return await open_pool(dsn, size=size, name="dispatch", settings=PINNED | HUNG)
