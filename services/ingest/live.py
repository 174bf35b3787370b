"""The published workspace's settings that the edge obeys, kept current in the background.

Until they have been read the defaults hold, which allow least.
"""

import asyncio

import structlog
from pydantic import ValidationError

from shared.db.connect import Pool, unavailable_when_lost
from shared.db.wakeups import ring_or_timeout
from shared.errors import Unavailable
from shared.lifecycle import unless_stopping
from shared.tracking import Judge, TrackingPlan
from shared.workspace import WorkspaceSettings

_logger = structlog.get_logger(__name__)

_LONGEST_WAIT = 5.0
"""Real seconds after which it looks for itself, should a wake-up have been lost."""
_NEWEST = "SELECT revision, settings, tracking FROM workspaces ORDER BY revision DESC LIMIT 1"


def judge_of(tracking: object) -> Judge | None:
    """Of a plan as a revision keeps it. Raises ValidationError."""
    return None if tracking is None else Judge(TrackingPlan.model_validate(tracking))


class Live:
    """`settings` is always usable."""

    def __init__(self, settings: WorkspaceSettings | None = None) -> None:
        self.settings = settings or WorkspaceSettings()
        self.judge: Judge | None = None
        """Of the tracking plan; None where there is none."""
        self.revision = 0
        self.loaded = settings is not None

    async def refresh(self, pool: Pool) -> None:
        """Raises Unavailable; the settings then stay what they were."""
        async with unavailable_when_lost(), pool.acquire() as connection:
            row = await connection.fetchrow(_NEWEST)
        self.loaded = True
        if row is None or row["revision"] == self.revision:
            return
        try:
            settings = WorkspaceSettings.model_validate(row["settings"])
            self.judge = judge_of(row["tracking"])
            self.settings = settings
        except ValidationError:  # written by a newer release
            _logger.warning(
                "The workspace's settings cannot be read; the ones before stay.",
                action="ingest.settings",
                revision=row["revision"],
            )
        self.revision = row["revision"]

    async def run(self, pool: Pool, news: asyncio.Event, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            try:
                await self.refresh(pool)
            except Unavailable as error:
                _logger.warning(
                    "The workspace's settings have to wait.",
                    action="ingest.settings",
                    error=str(error),
                )
            await unless_stopping(stopping, ring_or_timeout(news, _LONGEST_WAIT))
