"""What every fake provider shares: what it has taken, and how it is told to misbehave.

A request misbehaves as its recipient's address says, so that a newcomer can provoke everything by
hand, or as a test has put on `plan`. Addresses: `nobody@…` or a number that ends in 9001, and so on
(`CONDITIONS`).
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from typing import Literal, get_args

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

Condition = Literal[
    "ok", "nobody", "refused", "throttled", "unavailable", "error", "hang", "taken-then-silent"
]
"""`hang`: no answer, nothing taken; `taken-then-silent`: taken, and the answer never comes."""
CONDITIONS: tuple[Condition, ...] = get_args(Condition)
_LONGEST_SILENCE = 600.0
_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Taken:
    """One message that the provider will deliver."""

    id: str
    to: str
    text: str
    kind: str = ""
    key: str | None = None
    """The idempotency key, or the caller's own reference."""
    fields: dict[str, object] = field(default_factory=dict)
    at: float = field(default_factory=time.monotonic)


def condition_of(address: str) -> Condition:
    """What an address asks for: a mail's local part, a number's last four digits, or a token."""
    local = address.partition("@")[0].lower()
    for number, condition in enumerate(CONDITIONS):
        if local in (condition, f"fake-{condition}") or (number and local.endswith(f"900{number}")):
            return condition
    return "ok"


@dataclass(slots=True)
class Fake:
    """One provider; a subclass adds its routes and turns conditions into its own answers."""

    name: str
    taken: deque[Taken] = field(default_factory=lambda: deque(maxlen=_KEPT))
    plan: deque[Condition] = field(default_factory=deque)
    """In turn, one for each request, before the addresses are asked."""
    requests: int = 0
    refused: list[str] = field(default_factory=list)
    """Why requests were refused as not signed as they should be."""
    silence: asyncio.Event = field(default_factory=asyncio.Event)
    """Set at the end, so that nobody hangs for longer than the server runs."""

    def condition(self, address: str) -> Condition:
        self.requests += 1
        return self.plan.popleft() if self.plan else condition_of(address)

    async def say_nothing(self) -> Response:
        """Keeps the connection open without an answer."""
        try:
            async with asyncio.timeout(_LONGEST_SILENCE):
                await self.silence.wait()
        except TimeoutError:
            pass
        return Response(status_code=500)

    def unauthorized(self, why: str) -> Response:
        self.refused.append(why)
        return JSONResponse({"message": why}, status_code=401)

    def app(self, *routes: Route) -> Starlette:
        async def seen(_request: Request) -> Response:
            return HTMLResponse(_page(self))

        async def sent(_request: Request) -> Response:
            return JSONResponse([asdict(taken) for taken in self.taken])

        return Starlette(routes=[*routes, Route("/", seen), Route("/__sent", sent)])


Handler = Callable[[Request], Awaitable[Response]]


def _page(fake: Fake) -> str:
    from html import escape

    rows = "".join(
        f"<tr><td>{escape(t.kind)}</td><td>{escape(t.to)}</td><td><pre>{escape(t.text)}</pre></td></tr>"
        for t in reversed(fake.taken)
    )
    return (
        f"<!doctype html><meta charset=utf-8><title>{escape(fake.name)}</title>"
        "<style>body{font:16px/1.5 system-ui,sans-serif;margin:2rem}td{padding:.3rem .8rem;"
        "border-top:1px solid #ccc;vertical-align:top}pre{margin:0;white-space:pre-wrap}</style>"
        f"<h1>{escape(fake.name)}</h1><p>A fake provider: nothing is delivered."
        f" {len(fake.taken)} taken.</p><table>{rows}</table>"
    )
