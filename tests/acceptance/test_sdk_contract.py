"""What every SDK needs of the server, point by point, from a real Dangol over real sockets.

The points are those that the SDKs' own behaviour, recorded from them, asks for. The details of each
are tested beside the code, in tests/unit/ingest; tests/acceptance/test_sdks.py runs the SDKs.
"""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from services.cli.web import KEEP_ALIVE
from tests.patience import SOON, in_time
from tests.processes import WRITE_KEY
from tests.sdks.house import House, open_house

pytestmark = pytest.mark.slow

SUCCESS = {"success": True, "ok": True, "status": 1}
EVENT_PATHS = [
    *("/v1/batch", "/v1/b", "/v1/t", "/v1/i", "/v1/p", "/v1/g", "/v1/a", "/v1/s", "/v1/track"),
    *("/v1/identify", "/v1/page", "/v1/screen", "/v1/group", "/v1/alias", "/beacon/v1/batch"),
    *("/api/public/apps/batch", "/api/public/apps/track", "/api/s/track", "/api/s/s2s/track"),
    *("/api/s/batch", "/api/s/s2s/batch", "/t", "/b", "/batch/", "/i/v0/e/", "/capture/"),
]
DOCUMENT_PATHS = [f"/v1/projects/{WRITE_KEY}/settings", "/sourceConfig/", "/sourceConfig"]


@pytest.fixture(scope="module")
async def house(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with open_house(postgres, tmp_path_factory.mktemp("contract")) as house:
        yield house


@pytest.fixture
async def http(house: House) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=house.dangol.url, limits=limits, timeout=SOON) as client:
        yield client


def track(n: int, user: str, **fields: Any) -> dict[str, Any]:
    return {
        "type": "track", "userId": user, "event": "Sent", "messageId": str(uuid4()),
        "properties": {"n": n}, **fields,
    }  # fmt: skip


def body(path: str, user: str, *, n: int = 0) -> dict[str, Any]:
    """An event as the path's SDK would write it, with the key in the body."""
    if path in ("/batch/", "/i/v0/e/", "/capture/"):
        item = {"event": "Sent", "distinct_id": user, "properties": {"n": n}, "uuid": str(uuid4())}
        return {"api_key": WRITE_KEY, "batch": [item]}
    return {"writeKey": WRITE_KEY, "batch": [track(n, user)]}


async def arrived(house: House, user: str, count: int) -> list[int]:
    """The customer's events, as soon as they are all in the history."""
    async with asyncio.timeout(SOON):
        while len(set(await house.sent(user))) < count:
            await asyncio.sleep(0.05)
    return await house.sent(user)


async def test_1_each_path_answers_exactly_200_with_the_one_success(
    house: House, http: httpx.AsyncClient
) -> None:
    for n, path in enumerate(EVENT_PATHS):
        answer = await http.post(path, json=body(path, "one", n=n))
        assert (answer.status_code, answer.json()) == (200, SUCCESS), path
    assert await arrived(house, "one", len(EVENT_PATHS)) == list(range(len(EVENT_PATHS)))


async def test_2_the_content_type_decides_nothing(house: House, http: httpx.AsyncClient) -> None:
    types = ("text/plain", "application/x-www-form-urlencoded", "application/json", "")
    for n, content_type in enumerate(types):
        content = json.dumps(body("/v1/batch", "two", n=n))
        answer = await http.post(
            "/v1/batch", content=content, headers={"Content-Type": content_type}
        )
        assert answer.status_code == 200, content_type
    assert await arrived(house, "two", len(types)) == list(range(len(types)))


async def test_3_compressed_and_chunked_bodies_are_read_and_bounded(
    house: House, http: httpx.AsyncClient
) -> None:
    plain = json.dumps(body("/v1/batch", "three")).encode()

    async def chunks() -> AsyncIterator[bytes]:
        packed = gzip.compress(plain)
        for start in range(0, len(packed), 50):
            yield packed[start : start + 50]

    headers = {"Content-Encoding": "gzip"}
    assert (await http.post("/v1/b", content=chunks(), headers=headers)).status_code == 200
    large = gzip.compress(b" " * 2_000_000 + json.dumps(body("/v1/batch", "three", n=1)).encode())
    assert (await http.post("/v1/b", content=large, headers=headers)).status_code == 200
    bomb = gzip.compress(b" " * 50_000_000)
    assert (await http.post("/v1/b", content=bomb, headers=headers)).status_code == 413
    assert await arrived(house, "three", 2) == [0, 1]


async def test_4_every_error_has_texts_under_code_and_message(http: httpx.AsyncClient) -> None:
    answers = [
        await http.post("/v1/batch", content=b"{"),
        await http.post("/v1/batch", json={"batch": []}),
        await http.get("/v1/batch"),
        await http.post("/v1/nothing", json={}),
        await http.post("/v1/batch", content=b" " * 10_500_000),
    ]
    assert [answer.status_code for answer in answers] == [400, 401, 405, 404, 413]
    for answer in answers:
        assert isinstance(answer.json()["code"], str)
        assert isinstance(answer.json()["message"], str)


async def test_5_one_bad_event_does_not_cost_the_others(
    house: House, http: httpx.AsyncClient
) -> None:
    bad = [{"type": "track", "event": "Sent"}, {"type": "?", "userId": "five"}, 7, None]
    batch = [track(0, "five"), *bad, track(1, "five")]
    answer = await http.post("/v1/batch", json={"writeKey": WRITE_KEY, "batch": batch})
    assert (answer.status_code, answer.json()) == (200, SUCCESS)
    assert await arrived(house, "five", 2) == [0, 1]
    reasons = await house.pool.fetch("SELECT reason FROM set_aside")
    assert {row["reason"] for row in reasons} == {"no_identity", "unknown_type", "not_an_object"}


async def test_6_our_trouble_is_503_with_whole_seconds(
    house: House, http: httpx.AsyncClient
) -> None:
    async with house.away():
        answer = await http.post("/v1/batch", json=body("/v1/batch", "six"))
    assert answer.status_code == 503
    assert 1 <= int(answer.headers["retry-after"]) <= 300


async def test_7_a_message_id_counts_once(house: House, http: httpx.AsyncClient) -> None:
    same = body("/v1/batch", "seven")
    answers = await asyncio.gather(*(http.post("/v1/batch", json=same) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {200}
    await http.post("/v1/batch", json=body("/v1/batch", "seven", n=1))
    assert await arrived(house, "seven", 2) == [0, 1]


async def test_8_nothing_is_ever_redirected(http: httpx.AsyncClient) -> None:
    for path in EVENT_PATHS:
        other = path.removesuffix("/") if path.endswith("/") else f"{path}/"
        answer = await http.post(other, json=body(path, "eight"))
        assert answer.status_code == 200, other
    for path in DOCUMENT_PATHS:
        for method in ("GET", "OPTIONS"):
            other = path.removesuffix("/") + ("" if path.endswith("/") else "/")
            assert (await http.request(method, other)).is_success, other


async def test_9_every_answer_may_be_read_by_every_page(
    house: House, http: httpx.AsyncClient
) -> None:
    origin = {"Origin": "https://shop.example"}
    asked = "anonymousid,authorization,content-type,rsa-recovered,sentat,x-retry-count"
    for path in (*EVENT_PATHS, *DOCUMENT_PATHS):
        method = {"Access-Control-Request-Method": "POST"}
        preflight = await http.options(
            path, headers={**origin, **method, "Access-Control-Request-Headers": asked}
        )
        assert preflight.is_success
        assert preflight.headers["access-control-allow-origin"] == "https://shop.example"
        assert preflight.headers["access-control-allow-headers"] == asked
        assert preflight.headers["access-control-max-age"] == "7200"
    async with house.away():
        away = await http.post("/v1/t", json=body("/v1/batch", "nine"), headers=origin)
    answers = [
        away,
        await http.post("/v1/t", json=body("/v1/batch", "nine"), headers=origin),
        await http.post("/v1/t", content=b"{", headers=origin),
        await http.post("/v1/t", json=track(0, "nine"), headers=origin),
        await http.put("/v1/t", headers=origin),
    ]
    assert [answer.status_code for answer in answers] == [503, 200, 400, 401, 405]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert answer.headers["access-control-expose-headers"] == "Retry-After"


async def test_10_browsers_find_their_settings(house: House, http: httpx.AsyncClient) -> None:
    settings = (await http.get(f"/v1/projects/{WRITE_KEY}/settings")).json()
    assert list(settings["integrations"]) == ["Segment.io"]
    host = house.dangol.url.removeprefix("http://")
    assert settings["integrations"]["Segment.io"]["apiHost"] == f"{host}/v1"
    source = (await http.get("/sourceConfig/", auth=(WRITE_KEY, ""))).json()["source"]
    assert (source["writeKey"], source["destinations"]) == (WRITE_KEY, [])


async def test_11_over_a_restart_the_socket_listens_and_nobody_is_refused(
    house: House, http: httpx.AsyncClient
) -> None:
    sending = asyncio.Event()
    over = asyncio.Event()

    async def send() -> int:
        n = 0
        async with httpx.AsyncClient(base_url=house.dangol.url, timeout=SOON) as client:
            while not over.is_set():  # one request after the other; none is tried again
                answer = await client.post("/v1/batch", json=body("/v1/batch", "eleven", n=n))
                assert answer.status_code == 200
                n += 1
                sending.set()
        return n

    task = asyncio.create_task(send())
    await sending.wait()
    assert await house.dangol.stop() == 0
    await house.dangol.start()
    over.set()
    count = await task
    assert await arrived(house, "eleven", count) == list(range(count))


async def test_12_two_hundred_connections_at_once_are_answered_in_time(
    house: House, http: httpx.AsyncClient
) -> None:
    answers = await asyncio.gather(
        *(http.post("/v1/batch", json=body("/v1/batch", "twelve", n=n)) for n in range(200))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert in_time(max(answer.elapsed.total_seconds() for answer in answers), 10)
    assert await arrived(house, "twelve", 200) == list(range(200))
    assert KEEP_ALIVE >= 65
