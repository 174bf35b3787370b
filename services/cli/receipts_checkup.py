"""What the doctor finds of receipts to those who ask for messages by the API."""

from datetime import timedelta

from services.cli.findings import Finding
from shared.db.connect import Pool

_LATELY = timedelta(days=1)
_WAITING = """
SELECT host, count(*) AS n, min(created_at) AS since, max(detail) AS why FROM calls
WHERE status IN ('queued', 'attempting') AND receipt AND attempts > 2
GROUP BY host ORDER BY n DESC LIMIT 3
"""
_LOST = """
SELECT host, count(*) AS n, max(detail) AS why FROM calls
WHERE status = 'decided' AND receipt AND outcome <> 'sent'
  AND decided_at > (SELECT max(decided_at) FROM calls WHERE status = 'decided') - $1::interval
GROUP BY host ORDER BY n DESC LIMIT 3
"""


async def receipts_lost(pool: Pool) -> list[Finding]:
    """Receivers that do not take theirs, and those that have missed some for good."""
    waiting = [
        Finding(
            "receipts",
            "warn",
            f"{row['n']} for {row['host']} wait since {row['since']:%Y-%m-%d %H:%M} UTC, tried"
            f" several times: {row['why']}",
            "mend the receiver; they are tried again for three days",
        )
        for row in await pool.fetch(_WAITING)
    ]
    lost = [
        Finding(
            "receipts",
            "fail",
            f"{row['n']} for {row['host']} were given up within a day: {row['why']}",
            "the caller has not heard of these: `GET /api/messages` tells what became of them",
        )
        for row in await pool.fetch(_LOST, _LATELY)
    ]
    return waiting + lost
