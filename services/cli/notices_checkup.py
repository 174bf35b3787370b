"""What the doctor finds of notices that a law asks for and nobody has been given in time."""

from services.cli.findings import Finding
from shared import notices
from shared.clock import Clock
from shared.db.connect import Connection, Pool
from shared.workspace_store import newest_settings


async def check_notices(pool: Pool, clock: Clock) -> list[Finding]:
    """Nothing where no pack asks for any. Raises Unavailable."""
    async with pool.acquire() as connection:
        return await _check(connection, clock)


async def _check(connection: Connection, clock: Clock) -> list[Finding]:
    found = []
    for notice in notices.in_force(await newest_settings(connection)):
        customers, first = await notices.count(connection, notice, clock.now())
        if first is None:
            found.append(Finding("notices", "ok", f"{notice.name}: none is overdue"))
            continue
        many = "1 customer has" if customers == 1 else f"{customers:,} customers have"
        found.append(
            Finding(
                "notices",
                "fail",
                f"{notice.name}: {many} not been told in time ({notice.duty.title}),"
                f" the first since {first:%Y-%m-%d %H:%M} UTC",
                "`dangol notices` lists them, with the reason",
            )
        )
    return found
