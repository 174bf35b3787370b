"""One transactional message by the API, sent once whatever is repeated."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from shared.db.connect import Pool
from shared.message import unpack
from tests.integration.consoling import client, publish

WISH = {"customer": "u1", "channels": ["email"], "template": "hello", "data": {"link": "x"}}


@pytest.fixture
async def api(dsn: str, pool: Pool) -> AsyncIterator[httpx.AsyncClient]:
    async with client(dsn, pool) as api:
        await publish(api, "welcome")
        yield api


async def send(api: httpx.AsyncClient, key: str = "k1", **changes: Any) -> httpx.Response:
    return await api.post(
        "/api/messages", json={**WISH, **changes}, headers={"Idempotency-Key": key}
    )


async def test_a_message_is_queued_once(api: httpx.AsyncClient, pool: Pool) -> None:
    first, again = await send(api), await send(api)
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["created"] is True
    assert again.json() == {"id": first.json()["id"], "created": False}
    (row,) = await pool.fetch("SELECT * FROM messages")
    assert (row["customer"], row["category"], row["status"]) == ("u1", "transactional", "queued")
    assert unpack(row["context"]).trigger == {"link": "x"}
    listed = (await api.get("/api/messages?customer=u1")).json()
    assert [message["id"] for message in listed] == [first.json()["id"]]


@pytest.mark.parametrize("change", [{"data": {}}, {"customer": "u2"}, {"customer": "someone"}])
async def test_a_key_names_one_message(api: httpx.AsyncClient, change: dict[str, Any]) -> None:
    await send(api)
    answer = await send(api, **change)
    assert answer.status_code == 409
    assert "used for another message" in answer.json()["message"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"template": "helo"}, "no template `helo`"),
        ({"channels": ["sms"]}, "no channel `sms`"),
        ({"channels": ["email", "email"]}, "named twice"),
    ],
)
async def test_what_cannot_be_sent_is_refused_at_once(
    api: httpx.AsyncClient, pool: Pool, change: dict[str, Any], said: str
) -> None:
    answer = await send(api, **change)
    assert answer.status_code == 400
    assert said in answer.json()["message"]
    assert await pool.fetchval("SELECT count(*) FROM messages") == 0


async def test_a_message_needs_a_key(api: httpx.AsyncClient) -> None:
    assert (await api.post("/api/messages", json=WISH)).status_code == 422
