"""An API client on an app of its own, and what to publish with it."""

import io
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx

from services.console.app import Console, create_app
from shared.clock import REAL
from shared.db.connect import Pool, engine_for
from shared.keys import KeyRing

PARTITIONS = 4
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
ADMIN = "the-admin-token"
WRITE = "the-write-key"
JOURNEY = """journey: {name}
title: 환영
trigger: {{event: Signed Up}}
steps:
  - wait: {wait}
    id: pause
  - send: email
    template: hello
    id: hello
"""
SETTINGS = b"channels:\n  email: {adapter: log}\n"
TEMPLATE = b'---\nsubject: "Hello"\n---\n<p>Hello</p>\n'


def workspace(*names: str, wait: str = "1h") -> dict[str, bytes]:
    journeys = {
        f"journeys/{name}.yaml": JOURNEY.format(name=name, wait=wait).encode() for name in names
    }
    return {"dangol.yaml": SETTINGS, "templates/hello/email.liquid": TEMPLATE, **journeys}


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@asynccontextmanager
async def client(
    dsn: str, pool: Pool, token: str | None = ADMIN
) -> AsyncIterator[httpx.AsyncClient]:
    engine = engine_for(dsn)
    ring = KeyRing(pool, write_keys=[WRITE], admin_token=ADMIN)
    transport = httpx.ASGITransport(create_app(Console(pool, engine, ring, REAL)))
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://dangol.test", headers=headers
    ) as api:
        yield api
    await engine.dispose()


async def publish(api: httpx.AsyncClient, *names: str, wait: str = "1h") -> dict[str, Any]:
    response = await api.put("/api/workspace", content=zipped(workspace(*names, wait=wait)))
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer
