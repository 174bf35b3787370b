"""What a telephone number asks of the fakes of text and Kakao providers, by its last four digits.

So a newcomer provokes by hand, and a test by its recipient, everything that a provider can do:
`010-0000-0404` is nobody's, `010-0000-0019` has no Kakao account.
"""

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from services.cli.fakes.base import Fake

Fate = Literal[
    "deliver",
    "nobody",
    "no-kakao",
    "throttled-once",
    "error-twice",
    "taken-then-cut",
    "opted-out",
    "outside-hours",
]

ENDINGS: dict[str, tuple[Fate, str]] = {
    "0000": ("deliver", "is delivered, as any other number is"),
    "0404": ("nobody", "nobody has the number"),
    "0019": ("no-kakao", "has no Kakao account"),
    "0429": ("throttled-once", "is too fast the first time (429, Retry-After: 1)"),
    "0500": ("error-twice", "the provider fails twice (500)"),
    "0998": ("taken-then-cut", "is taken, and the connection ends before the answer"),
    "0080": ("opted-out", "has refused advertising (080, STOP)"),
    "2050": ("outside-hours", "Kakao takes no advertising at this hour"),
}


_TRIES, _TIMES = 20, 2


def fate_of(number: str) -> Fate:
    return ENDINGS.get(number[-4:], ENDINGS["0000"])[0]


class CutOff(Response):
    """Closes the connection instead of answering."""

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{", "more_body": False})


@dataclass(slots=True)
class NumberFake(Fake):
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often each of the passing failures has been given, by number."""

    dangol: str | None = None
    """Where to report to, such as `http://127.0.0.1:8080`; None: nobody is told."""
    delay: float = 0.5
    reporting: set[asyncio.Task[None]] = field(default_factory=set)

    def report(self, path: str, **request: Any) -> None:
        """Tell it late, and twice, as providers do; again where nobody takes it."""
        if self.dangol is not None:
            task = asyncio.create_task(self._report(f"{self.dangol}{path}", request))
            self.reporting.add(task)
            task.add_done_callback(self.reporting.discard)

    async def _report(self, url: str, request: dict[str, Any]) -> None:
        async with httpx.AsyncClient() as client:
            taken = 0
            for _ in range(_TRIES):
                await asyncio.sleep(self.delay)
                with contextlib.suppress(httpx.HTTPError):
                    taken += (await client.post(url, **request)).is_success
                if taken == _TIMES:
                    return

    def passing(self, number: str) -> int | None:
        """The HTTP status of a failure that passes, or None: go on."""
        fate = fate_of(number)
        times = {"throttled-once": 1, "error-twice": 2}.get(fate, 0)
        if self.asked[number, fate] >= times:
            return None
        self.asked[number, fate] += 1
        return 429 if fate == "throttled-once" else 500
