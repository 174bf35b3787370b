"""Posts the traffic as an SDK does: each batch again and again until it is answered 200."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx

from shared.clock import REAL
from tests.chaos.traffic import TOUR_IN, Stream, Wire
from tests.processes import WRITE_KEY

_WITHIN = 5.0
BATCH = 40


@dataclass
class Posted:
    events: int = 0
    """Of which ids were answered for the first time."""
    answered: set[str] = field(default_factory=set)
    tries: int = 0
    refused: list[str] = field(default_factory=list)
    """What no SDK would post again: a finding."""
    slowest: float = 0.0


@dataclass
class Shop:
    """Several posters, each in its own order, together at a pace."""

    urls: Sequence[str]
    seed: int
    posters: int = 4
    posted: Posted = field(default_factory=Posted)

    async def trade(self, events: int, seconds: float) -> None:
        """Post so many events, spread over the time; behind an outage as fast as they are taken."""
        rate = events / seconds
        width = max(8, int(rate * 1.5 / self.posters))
        started = time.monotonic()
        async with httpx.AsyncClient(timeout=_WITHIN) as client, asyncio.TaskGroup() as tasks:
            for share in range(self.posters):
                own = events // self.posters + (share < events % self.posters)
                stream = Stream(self.seed, share, self.posters, width)
                tasks.create_task(self._post(client, share, stream, own, started, seconds))

    async def _post(
        self,
        client: httpx.AsyncClient,
        share: int,
        stream: Stream,
        events: int,
        started: float,
        seconds: float,
    ) -> None:
        made = 0
        for batch in stream.batches(events, BATCH):
            due = started + seconds * made / events
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await self._until_taken(client, share, [_timed(event) for event in batch])
            made += len(batch)

    async def _until_taken(self, client: httpx.AsyncClient, share: int, batch: list[Wire]) -> None:
        began, tries = time.monotonic(), 0
        while True:
            url = self.urls[(share + tries) % len(self.urls)]
            tries += 1
            try:
                answer = await client.post(
                    f"{url}/v1/batch", json={"batch": batch}, auth=(WRITE_KEY, "")
                )
            except httpx.TransportError:
                await asyncio.sleep(0.1)
                continue
            if answer.status_code == 200:
                break
            if answer.status_code not in (429, 503):
                self.posted.refused.append(f"{answer.status_code} {answer.text[:300]}")
                return
            await asyncio.sleep(0.1)
        self.posted.tries += tries
        self.posted.answered.update(event["messageId"] for event in batch)
        self.posted.events = len(self.posted.answered)
        self.posted.slowest = max(self.posted.slowest, time.monotonic() - began)


def _timed(event: Wire) -> Wire:
    """Instants that lie about now."""
    properties: dict[str, Any] = event.get("properties", {})
    if TOUR_IN not in properties:
        return event
    at = REAL.now() + timedelta(seconds=properties[TOUR_IN])
    rest = {name: value for name, value in properties.items() if name != TOUR_IN}
    return {**event, "properties": {**rest, "tour_at": at.isoformat()}}
