"""`GET /api/messages` says which connection a message waits for, and what mends it."""

from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest

from services.dispatch import pauses
from services.dispatch.channel_lines import Paused
from shared.db.connect import Pool
from tests.integration.consoling import NOON, client
from tests.integration.test_console_reads import store_messages

SECRET = "sk_live_0123456789abcdefghijkl"
WHY = f"401 key {SECRET} of hello@shop.example for +82 10-1234-5678 is unknown"


@pytest.fixture
async def api(dsn: str, pool: Pool) -> AsyncIterator[httpx.AsyncClient]:
    async with client(dsn, pool) as api:
        yield api


async def says(pool: Pool, *paused: Paused, seconds: float = 600) -> None:
    await pauses.say(pool, "dispatcher-1", paused, timedelta(seconds=seconds))


def broken(channel: str, adapter: str = "smtp", times: int = 7) -> Paused:
    return Paused(channel, adapter, NOON, NOON + timedelta(minutes=1), times, WHY)


async def test_a_message_says_what_is_broken_since_when_and_what_mends_it(
    api: httpx.AsyncClient, pool: Pool
) -> None:
    await store_messages(pool, 1, held="channel_paused")
    await store_messages(pool, 1, first=1, held="quiet_hours")
    await says(pool, broken("email"), broken("sms", "solapi"))
    late, waits = (await api.get("/api/messages", params={"journey": "welcome"})).json()
    assert late["held_because"] is None, "it waits for the morning"
    because = waits["held_because"]
    assert because["said"] == (
        "The connection of email (smtp) has been broken since 2026-03-02 12:00:00 UTC,"
        " and 7 tries in a row have failed. The last error: 401 key … of … for … is unknown"
    )
    assert "`dangol doctor`" in because["mend"]
    assert because["connections"] == [
        {
            "adapter": "smtp",
            "since": "2026-03-02T12:00:00Z",
            "again_at": "2026-03-02T12:01:00Z",
            "tries": 7,
            "error": "401 key … of … for … is unknown",
        }
    ]
    asked = {"journey": "welcome", "decision": "undecided", "lang": "ko"}
    korean = (await api.get("/api/messages", params=asked)).json()[1]["held_because"]["said"]
    assert "email 채널의 연결(smtp)이 2026-03-02 12:00:00 UTC부터 끊겨 있고" in korean
    kept = await pool.fetchval("SELECT string_agg(why, ' ') FROM channel_pauses")
    assert SECRET not in kept
    assert "shop.example" not in kept


async def test_all_adapters_of_a_channel_are_told(api: httpx.AsyncClient, pool: Pool) -> None:
    await store_messages(pool, 1, held="channel_paused")
    await says(pool, broken("email", "ses", 1), broken("email"))
    (waits,) = (await api.get("/api/messages", params={"journey": "welcome"})).json()
    assert [each["adapter"] for each in waits["held_because"]["connections"]] == ["ses", "smtp"]
    assert "(ses)" in waits["held_because"]["said"]
    assert "one try has failed" in waits["held_because"]["said"]


async def test_what_nobody_says_any_more_is_not_told(api: httpx.AsyncClient, pool: Pool) -> None:
    await store_messages(pool, 1, held="channel_paused")
    await says(pool, broken("email"), seconds=-1)
    (waits,) = (await api.get("/api/messages", params={"journey": "welcome"})).json()
    assert waits["held_because"]["connections"] == []
    assert "No dispatcher says so now" in waits["held_because"]["said"]
    assert "not_before" in waits["held_because"]["mend"]


async def test_a_decided_message_does_not_wait(api: httpx.AsyncClient, pool: Pool) -> None:
    await store_messages(pool, 1, decision="sent", held="channel_paused")
    await says(pool, broken("email"))
    (sent,) = (await api.get("/api/messages", params={"journey": "welcome"})).json()
    assert sent["held_because"] is None


@pytest.mark.parametrize(
    ("why", "said"),
    [
        ("535 5.7.8 authentication failed", "535 5.7.8 authentication failed"),
        ("DANGOL_SMTP_URL is not set", "DANGOL_SMTP_URL is not set"),
        ("no route to mail.shop.example:587", "no route to mail.shop.example:587"),
        ("the channel push: ValueError\0", "the channel push: ValueError"),
        ("to <ann+x@shop.example>: no", "to <…>: no"),
        ("010-1234-5678 is unregistered", "… is unregistered"),
        ("token eyJhbGciOiJFUzI1NiIsImtpZCI6IktFWSJ9", "token …"),
        ("x" * 500, "x" * 500),
    ],
)
def test_a_secret_is_taken_out_and_words_stay(why: str, said: str) -> None:
    assert pauses.redacted(why) == said
