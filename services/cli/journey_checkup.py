"""Whether what is published can be read by this release, journey by journey."""

from services.cli.findings import Finding
from services.journey import published
from shared.db.connect import Pool

_IN_FORCE = (
    "put its row in journey_versions right, run the release that stored it, or apply the journey"
    " mended; until then it starts nobody and its runs rest, and then they go on by themselves"
)
_OF_BEFORE = (
    "runs that began with it rest; put its row in journey_versions right, run the release that"
    " stored it, or apply the journey once more with --in-flight migrate or end"
)


async def check_journeys(pool: Pool) -> list[Finding]:
    editions = await pool.fetch(published.EDITIONS)
    sources = await pool.fetch(published.SOURCES)
    if not editions:
        return []
    rows = published.Rows(
        editions,
        sources,
        await pool.fetch(published.CHANGES),
        await pool.fetchval(published.SETTINGS),
    )
    versions = published.Versions(rows.by_version(), {})
    published.book_of(rows, versions)
    in_force = editions[-1]["journeys"]
    found: list[Finding] = []
    for (journey, version), why in sorted(versions.unreadable.items()):
        if in_force.get(journey) == version:
            found.append(Finding(f"journey {journey}", "fail", why, _IN_FORCE))
        else:
            found.append(Finding(f"journey {journey}", "warn", why, _OF_BEFORE))
    return found
