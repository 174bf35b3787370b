"""One transactional message by the API, sent once whatever is repeated."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from services.console.send_api import KEPT
from services.journey.maintenance import Maintenance
from shared.clock import REAL
from shared.db.connect import Pool
from shared.log.port import Log
from shared.message import unpack
from tests.integration.consoling import SETTINGS, client, publish, workspace, zipped

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
        ({"receipts": "shop"}, "no receiver of receipts called `shop`"),
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


async def test_a_key_names_its_message_for_seven_days(api: httpx.AsyncClient, pool: Pool) -> None:
    first = (await send(api)).json()["id"]
    await pool.execute(
        "UPDATE idempotency_keys SET made_at = made_at - $1::interval", KEPT - timedelta(minutes=1)
    )
    assert (await send(api)).json() == {"id": first, "created": False}
    await pool.execute("UPDATE idempotency_keys SET made_at = made_at - interval '2 minutes'")
    later = (await send(api, data={"link": "y"})).json()
    assert later["created"] is True
    assert later["id"] != first
    assert await pool.fetchval("SELECT count(*) FROM idempotency_keys") == 1


async def test_concurrent_twins_send_one(api: httpx.AsyncClient, pool: Pool) -> None:
    answers = await asyncio.gather(*(send(api) for _ in range(8)))
    assert [answer.status_code for answer in answers] == [202] * 8
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sorted(answer.json()["created"] for answer in answers) == [False] * 7 + [True]
    assert await pool.fetchval("SELECT count(*) FROM messages") == 1


async def test_a_key_answers_the_same_after_its_customer_is_erased(
    api: httpx.AsyncClient, pool: Pool
) -> None:
    first = (await send(api)).json()["id"]
    await pool.execute("UPDATE messages SET erased = true, customer = 'hash', context = ''")
    assert (await send(api)).json() == {"id": first, "created": False}
    assert (await send(api, data={})).status_code == 409


async def test_old_keys_are_forgotten(api: httpx.AsyncClient, pool: Pool) -> None:
    class NoLog:
        async def trim(self, *_: Any) -> None: ...

    await send(api)
    await pool.execute("UPDATE idempotency_keys SET made_at = made_at - interval '9 days'")
    log: Log = NoLog()  # type: ignore[assignment]
    await Maintenance(pool, REAL, log).once()
    assert await pool.fetchval("SELECT count(*) FROM idempotency_keys") == 0


async def test_a_message_keeps_whom_its_receipts_go_to(dsn: str, pool: Pool) -> None:
    url = "https://shop.example/dangol"
    settings = SETTINGS + f"receipts: {{shop: {{url: '{url}'}}}}\n".encode()
    async with client(dsn, pool) as api:
        files = zipped({**workspace("welcome"), "dangol.yaml": settings})
        assert (await api.put("/api/workspace", content=files)).status_code == 200
        assert (await send(api, receipts="shop")).status_code == 202
        nearly = await send(api, "k2", receipts="shpo")
    assert await pool.fetchval("SELECT receipts_to FROM messages") == url
    assert (nearly.status_code, nearly.json()["hint"]) == (400, "did you mean `shop`?")


@pytest.mark.parametrize(
    "url", ["shop.example", "ftp://shop.example", "https://user:pw@shop.example/", "https://"]
)
async def test_a_receiver_needs_an_address(dsn: str, pool: Pool, url: str) -> None:
    settings = SETTINGS + f"receipts: {{shop: {{url: '{url}'}}}}\n".encode()
    async with client(dsn, pool) as api:
        files = zipped({**workspace("welcome"), "dangol.yaml": settings})
        answer = await api.put("/api/workspace", content=files)
    assert answer.status_code == 422
    assert "no address for receipts" in answer.text
