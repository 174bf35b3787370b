"""How many live runs wait at which step, counted exactly.

Runs live packed in their customers' rows, so this reads every row that has any. It is for the plan
before a publish, not for a page: a seconds' scan per million customers, in chunks, on one
snapshot, without holding the event loop or any lock. (The difference of the counters `reached` and
`ended` would be cheaper but counts passages, not runs.)
"""

from collections import Counter
from collections.abc import Mapping

from services.console.changes import InFlight
from services.journey.core.state import LIVE, unpack
from shared.db.connect import Connection

_LIVE = "SELECT state FROM customers WHERE position($1::bytea IN state) > 0"
_CHUNK = 500


async def count_in_flight(connection: Connection) -> Mapping[str, tuple[InFlight, ...]]:
    """By journey, ordered by version and step. Needs a transaction of its caller."""
    counts: Counter[tuple[str, int, str]] = Counter()
    async for row in connection.cursor(_LIVE, LIVE, prefetch=_CHUNK):
        for run in unpack(row["state"]).runs:
            counts[run.journey, run.version, run.step] += 1
    found: dict[str, tuple[InFlight, ...]] = {}
    for (journey, version, step), runs in sorted(counts.items()):
        found[journey] = (*found.get(journey, ()), InFlight(version, step, runs))
    return found
