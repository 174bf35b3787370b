"""The doors over HTTP on a real database: what is written, what is told, what is then not sent."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from services.dispatch import store
from services.dispatch.doors.api import door_routes
from services.dispatch.doors.links import Click, Leave, Links, Opening, make_links
from services.dispatch.doors.reception import make_reception
from services.dispatch.doors.store import Doors
from services.dispatch.receipts.sent import Sent
from shared.errors import Unavailable
from shared.event import decode_unstamped, partition_of
from tests.conftest import PARTITIONS
from tests.integration.dispatching import NOON, House

URL = "https://shop.example"
ANN = next(f"ann-{n}" for n in range(100) if partition_of(f"ann-{n}", PARTITIONS) == 0)
PERSON = {"user-agent": "Mozilla/5.0 (Windows NT 10.0) Firefox/150", "accept-language": "ko-KR"}
ONE_CLICK = "List-Unsubscribe=One-Click"


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House.open(dsn) as house:
        await house.publish(policies={"packs": ["kr-marketing"], "consent": "required"})
        await house.customer(ANN, consents={"email": True, "sms": True})
        yield house


@pytest.fixture
async def links(house: House) -> Links:
    return make_links(URL, await store.address_key(house.pool))


@pytest.fixture
async def web(house: House) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.include_router(door_routes(make_reception(house.pool, house.clock, PARTITIONS, URL)))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url=URL, headers=PERSON) as client:
        yield client


async def consents(house: House, customer: str = ANN) -> dict[str, bool]:
    rows = await house.pool.fetch("SELECT * FROM consents WHERE customer = $1", customer)
    return {row["channel"]: row["granted"] for row in rows}


async def told(house: House) -> list[dict[str, object]]:
    rows = await house.pool.fetch("SELECT payload FROM log_outbox ORDER BY place")
    events = [decode_unstamped(row["payload"]) for row in rows]
    return [{"kind": e.kind, "customer": e.customer, **e.traits, **e.properties} for e in events]


async def sent(house: House) -> None:
    """A mail went out five minutes ago."""
    fields: dict[str, Any] = {"decision": "sent", "channel": "email", "decided_at": NOON}
    await house.message("m1", customer=ANN, status="decided", **fields)
    house.clock.move_to(NOON.replace(minute=5))


def leave(links: Links, customer: str = ANN) -> str:
    return links.preferences(Leave(customer, "email", "m1", "hash"))


async def test_one_click_unsubscribes_before_it_answers(
    house: House, links: Links, web: httpx.AsyncClient
) -> None:
    answer = await web.post(leave(links), content=ONE_CLICK)
    assert answer.status_code == 200
    assert "수신거부가 완료되었습니다" in answer.text
    assert await consents(house) == {"email": False, "sms": True}
    (event,) = await told(house)
    assert event == {"kind": "identify", "customer": ANN, "consent": {"email": False}}
    row = await house.pool.fetchrow("SELECT * FROM consent_ledger WHERE customer = $1", ANN)
    assert row is not None
    assert (row["source"], row["wording"]) == ("unsubscribe", "List-Unsubscribe=One-Click")


async def test_a_link_from_before_the_login_is_about_the_user(
    house: House, links: Links, web: httpx.AsyncClient
) -> None:
    guest = partition_of("guest", PARTITIONS), "guest"
    await house.pool.execute(
        "INSERT INTO customers (partition, id, state, forwarded_to) VALUES ($1, $2, '', $3)",
        *guest,
        ANN,
    )
    assert (await web.post(leave(links, "guest"), content=ONE_CLICK)).status_code == 200
    assert await consents(house) == {"email": False, "sms": True}
    assert await consents(house, "guest") == {}
    (event,) = await told(house)
    assert event["customer"] == ANN


@pytest.mark.parametrize(
    ("header", "language"),
    [("en-US", "en"), ("fr-FR, ko;q=0.8, en;q=0.5", "ko"), ("ja, en;q=0.5", "en"), ("ja", "en")],
)
async def test_the_page_speaks_the_first_language_of_the_browser_that_it_has(
    links: Links, web: httpx.AsyncClient, header: str, language: str
) -> None:
    answer = await web.get(leave(links), headers={"accept-language": header})
    assert f'<html lang="{language}">' in answer.text


async def test_looking_changes_nothing(house: House, links: Links, web: httpx.AsyncClient) -> None:
    answer = await web.get(leave(links))
    assert answer.status_code == 200
    assert "광고성 정보 수신 설정" in answer.text
    assert "set-cookie" not in answer.headers
    assert await consents(house) == {"email": True, "sms": True}
    assert await told(house) == []


async def test_the_page_saves_each_channel_with_its_words(
    house: House, links: Links, web: httpx.AsyncClient
) -> None:
    form = {"action": "save", "channel": ["sms", "night"]}
    answer = await web.post(leave(links), data=form)
    assert "저장했습니다" in answer.text
    assert await consents(house) == {"email": False, "sms": True, "night": True}
    rows = await house.pool.fetch("SELECT channel, wording FROM consent_ledger ORDER BY channel")
    assert [tuple(row) for row in rows] == [
        ("email", "이메일: 광고성 정보 수신에 동의합니다"),
        ("night", "야간(21시~8시) 수신: 광고성 정보 수신에 동의합니다"),
    ]


async def test_everything_can_be_refused_at_once(
    house: House, links: Links, web: httpx.AsyncClient
) -> None:
    await web.post(f"{leave(links)}?lang=en", data={"action": "none"})
    assert set((await consents(house)).values()) == {False}
    assert {"email", "sms", "push", "night"} <= set(await consents(house))


async def test_an_erased_customer_is_heard_and_not_made_known_again(
    house: House, links: Links, web: httpx.AsyncClient
) -> None:
    answer = await web.post(leave(links, "gone"), content=ONE_CLICK)
    assert answer.status_code == 200
    assert await consents(house, "gone") == {}
    rows = await house.pool.fetch("SELECT address_hash, scope FROM suppressions")
    assert [tuple(row) for row in rows] == [("hash", "marketing")]
    assert await told(house) == []


@pytest.mark.parametrize("path", ["/u/x", "/u/" + "A" * 200, "/c/x"])
async def test_a_wrong_address_is_told_so(web: httpx.AsyncClient, path: str) -> None:
    answer = await web.get(path)
    assert answer.status_code == 404
    assert "유효하지 않은 주소" in answer.text


async def test_a_click_is_counted_once_and_leads_on(
    house: House, links: Links, web: httpx.AsyncClient
) -> None:
    await sent(house)
    url = links.click(Click(ANN, "m1", "https://shop.example/item?id=1"))
    for _ in range(2):
        answer = await web.get(url)
        assert answer.status_code == 302
        assert answer.headers["location"] == "https://shop.example/item?id=1"
    (event,) = await told(house)
    assert event["kind"] == "receipt"
    assert (event["outcome"], event["message_id"], event["step"]) == ("clicked", "m1", "hi")


async def test_a_scanner_is_led_on_and_not_believed(
    house: House, links: Links, web: httpx.AsyncClient
) -> None:
    await sent(house)
    url = links.click(Click(ANN, "m1", "https://shop.example/"))
    for request in (web.head(url), web.get(url, headers={"user-agent": "Proofpoint"})):
        assert (await request).status_code == 302
    assert await told(house) == []


async def test_an_opening_is_a_dot(house: House, links: Links, web: httpx.AsyncClient) -> None:
    await sent(house)
    answer = await web.get(links.opening(Opening(ANN, "m1")))
    assert answer.headers["content-type"] == "image/gif"
    assert answer.content.startswith(b"GIF89a")
    assert [event["outcome"] for event in await told(house)] == ["opened"]
    assert (await web.get("/o/rubbish")).status_code == 200


async def test_a_form_without_end_is_cut_off(
    house: House, links: Links, web: httpx.AsyncClient
) -> None:
    answer = await web.post(leave(links), content=b"a=" + b"x" * 100_000)
    assert answer.status_code == 200  # heard as what the address stands for
    assert (await consents(house))["email"] is False


class Away(Doors):
    async def consents(self, customer: str) -> dict[str, bool]:
        raise Unavailable("away")

    async def state(self, *_given: object) -> None:
        raise Unavailable("away")

    async def sent(self, customer: str, message_id: str) -> Sent | None:
        raise Unavailable("away")


async def test_while_the_database_is_away_nothing_is_promised(house: House, links: Links) -> None:
    """One-click is to be tried again, people are told in their language, and links still lead."""
    reception = make_reception(house.pool, house.clock, PARTITIONS, URL)
    app = FastAPI()
    app.include_router(door_routes(replace(reception, doors=Away(house.pool, PARTITIONS))))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url=URL, headers=PERSON) as web:
        one_click = await web.post(leave(links), content=ONE_CLICK)
        page = await web.get(leave(links))
        saved = await web.post(leave(links), data={"action": "save", "channel": "sms"})
        click = await web.get(links.click(Click(ANN, "m1", "https://shop.example/")))
        dot = await web.get(links.opening(Opening(ANN, "m1")))
    for answer in (one_click, page, saved):
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
        assert "잠시 후 다시" in answer.text
    assert (click.status_code, dot.status_code) == (302, 200)
    assert await consents(house) == {"email": True, "sms": True}
