"""What the doors need, read from the database when the first customer comes."""

import asyncio

from services.dispatch import store
from services.dispatch.doors.api import Reception
from services.dispatch.doors.links import Links, make_links
from services.dispatch.doors.store import Doors
from shared.channels import CHANNELS, INFORMATION_ONLY
from shared.clock import Clock
from shared.db.connect import Pool, unavailable_when_lost
from shared.packs import packs_of
from shared.workspace import WorkspaceSettings

_FRESH = 5.0
"""Real seconds for which the workspace's channels are used without asking again."""
_SETTINGS = "SELECT settings FROM workspaces ORDER BY revision DESC LIMIT 1"


def make_reception(pool: Pool, clock: Clock, partitions: int, public_url: str) -> Reception:
    found = _Found(pool, public_url)
    return Reception(Doors(pool, partitions), found.links, found.channels, clock)


class _Found:
    def __init__(self, pool: Pool, public_url: str) -> None:
        self._pool = pool
        self._public_url = public_url
        self._links: Links | None = None
        self._channels: tuple[str, ...] = ()
        self._asked_at = float("-inf")

    async def links(self) -> Links:
        """Raises Unavailable."""
        if self._links is None:
            key = await store.address_key(self._pool)
            self._links = make_links(self._public_url, key)
        return self._links

    async def channels(self) -> tuple[str, ...]:
        """Raises Unavailable."""
        now = asyncio.get_running_loop().time()
        if now - self._asked_at >= _FRESH:
            async with unavailable_when_lost(), self._pool.acquire() as connection:
                settings = await connection.fetchval(_SETTINGS)
            if settings is not None:
                self._channels = _asked_about(WorkspaceSettings.model_validate(settings))
            self._asked_at = now
        return self._channels


def _asked_about(settings: WorkspaceSettings) -> tuple[str, ...]:
    """Channels that carry advertising to customers, and the night where a pack knows of it."""
    channels = [
        name
        for name in CHANNELS
        if name in settings.channels
        and name not in INFORMATION_ONLY
        and not CHANNELS[name].internal
    ]
    nights = {
        rule.unless_consent
        for pack in packs_of(settings.policies.packs)
        for rule in pack.nights
        if rule.unless_consent is not None and rule.channels & set(channels)
    }
    return (*channels, *sorted(nights))
