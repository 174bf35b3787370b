"""Serve a fake on loopback."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import ASGIApp

from services.cli import web
from services.cli.fakes.base import Fake


@asynccontextmanager
async def serving(fake: Fake, app: ASGIApp, port: int = 0) -> AsyncIterator[str]:
    """Yields its URL; ends when the block does."""
    stopping = asyncio.Event()
    with contextlib.closing(web.listen("127.0.0.1", port)) as sock:
        task = asyncio.create_task(web.serve(app, sock, stopping), name=f"fake-{fake.name}")
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            fake.silence.set()
            stopping.set()
            await task
