"""The API's doors: roles, tokens and keys, errors, words, and its own description."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from shared.db import embedded
from shared.db.connect import Pool, open_pool
from shared.db.migrate import migrate
from tests.integration.consoling import PARTITIONS, WRITE, client, publish


@pytest.fixture
async def api(dsn: str, pool: Pool) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the admin's token."""
    async with client(dsn, pool) as api:
        yield api


@pytest.fixture
async def console(dsn: str, pool: Pool) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a token."""
    async with client(dsn, pool, token=None) as api:
        yield api


# Roles and tokens ----------------------------------------------------------------------------

READS = [
    ("GET", "/api/workspace"),
    ("GET", "/api/journeys"),
    ("GET", "/api/messages"),
    ("GET", "/api/customers/u1"),
    ("GET", "/api/reasons"),
    ("POST", "/api/workspace/plan"),
]
MARKETS = [
    ("PUT", "/api/workspace"),
    ("POST", "/api/journeys/welcome/pause"),
    ("POST", "/api/journeys/welcome/resume"),
    ("POST", "/api/journeys/welcome/archive"),
    ("POST", "/api/journeys/welcome/enter"),
]
ADMINISTERS = [("GET", "/api/keys"), ("POST", "/api/keys"), ("DELETE", "/api/keys/x")]


@pytest.mark.parametrize(
    "token", ["", "Bearer", "Bearer nonsense", "Basic eDp5", f"Bearer {WRITE}"]
)
async def test_without_a_good_token_nothing_is_open(console: httpx.AsyncClient, token: str) -> None:
    expected = 403 if WRITE in token else 401
    for method, path in READS + MARKETS + ADMINISTERS:
        response = await console.request(method, path, headers={"Authorization": token})
        assert response.status_code == expected, (method, path)
        assert response.json()["code"] == ("forbidden" if WRITE in token else "unauthorized")
        if expected == 401:
            assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("role", "reads", "markets", "administers"),
    [
        ("write", False, False, False),
        ("viewer", True, False, False),
        ("marketer", True, True, False),
        ("operator", True, True, False),
        ("admin", True, True, True),
    ],
)
async def test_a_role_opens_what_it_reaches(
    api: httpx.AsyncClient, role: str, reads: bool, markets: bool, administers: bool
) -> None:
    made = (await api.post("/api/keys", json={"name": "someone", "role": role})).json()
    headers = {"Authorization": f"Bearer {made['key']}"}
    for group, opened in ((READS, reads), (MARKETS, markets), (ADMINISTERS, administers)):
        for method, path in group:
            response = await api.request(method, path, headers=headers)
            assert (response.status_code != 403) is opened, (method, path, response.text)
            assert response.status_code != 401


async def test_a_key_is_shown_once_listed_and_revoked(
    api: httpx.AsyncClient, dsn: str, pool: Pool
) -> None:
    made = await api.post("/api/keys", json={"name": "web", "role": "write"})
    assert made.status_code == 201
    key = made.json()["key"]
    assert re.fullmatch(r"c[a-z0-9]{24}", key)
    listed = (await api.get("/api/keys")).json()
    assert [(k["id"], k["name"], k["role"], k["revoked_at"]) for k in listed] == [
        (made.json()["id"], "web", "write", None)
    ]
    stored = await pool.fetch("SELECT keys::text AS row FROM keys")
    assert all(key not in row["row"] for row in stored)
    revoked = await api.delete(f"/api/keys/{made.json()['id']}")
    assert revoked.json()["revoked_at"] is not None
    again = await api.delete(f"/api/keys/{made.json()['id']}")
    assert again.json()["revoked_at"] == revoked.json()["revoked_at"]
    assert (await api.delete("/api/keys/key_none")).status_code == 404


@pytest.mark.parametrize(
    ("wish", "status"),
    [
        ({"name": ""}, 400),
        ({"name": "a\nb"}, 400),
        ({"name": "x" * 101}, 400),
        ({"name": "web", "role": "king"}, 422),
        ({"name": "web", "colour": "red"}, 422),
        ({}, 422),
        ("nonsense", 422),
    ],
)
async def test_a_key_that_cannot_be_is_refused(
    api: httpx.AsyncClient, wish: object, status: int
) -> None:
    response = await api.post("/api/keys", json=wish)
    assert response.status_code == status
    assert set(response.json()) >= {"code", "message"}


# The rest ------------------------------------------------------------------------------------


async def test_reasons_come_in_the_language_that_is_asked_for(api: httpx.AsyncClient) -> None:
    english = (await api.get("/api/reasons?lang=en")).json()
    korean = (await api.get("/api/reasons", headers={"Accept-Language": "ko-KR,en;q=0.5"})).json()
    assert english.keys() == korean.keys()
    assert english["held_out"] != korean["held_out"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/nothing", 404, "not_found"),
        ("DELETE", "/api/journeys", 405, "method_not_allowed"),
    ],
)
async def test_every_error_has_the_one_shape(
    api: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    response = await api.request(method, path)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert set(response.json()) <= {"code", "message", "hint"}


async def test_without_its_database_the_api_says_try_again(tmp_path: Path) -> None:
    server = embedded.start(tmp_path)
    try:
        await migrate(server.dsn, PARTITIONS)
        pool = await open_pool(server.dsn, size=4, name="test")
        async with client(server.dsn, pool) as api:
            await publish(api, "welcome")
            assert (await api.get("/api/journeys")).status_code == 200
            embedded.stop(server)
            for method, path in [*READS[:4], *ADMINISTERS[:1], *MARKETS[1:4], *READS[:4]]:
                response = await api.request(method, path)
                assert response.status_code == 503, (method, path, response.text)
                assert response.headers["Retry-After"].isdigit()
                assert response.json() == {
                    "code": "unavailable",
                    "message": "not available right now; try again",
                }
        pool.terminate()
    finally:
        embedded.stop(server)


async def test_the_page_speaks_the_language_that_is_asked_for(console: httpx.AsyncClient) -> None:
    for path, accepted, language in (
        ("/", "ko-KR,ko;q=0.9,en;q=0.8", "ko"),
        ("/", "fr", "en"),
        ("/?lang=ko", "en", "ko"),
    ):
        page = await console.get(path, headers={"Accept-Language": accepted})
        assert page.status_code == 200
        assert f'<html lang="{language}">' in page.text
        assert page.headers["Content-Language"] == language
        assert page.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src")
        assert page.headers["X-Content-Type-Options"] == "nosniff"


async def test_the_api_describes_itself_with_examples(console: httpx.AsyncClient) -> None:
    document = (await console.get("/openapi.json")).json()
    assert set(document["paths"]) >= {
        "/api/workspace",
        "/api/workspace/plan",
        "/api/journeys",
        "/api/journeys/{journey}",
        "/api/journeys/{journey}/pause",
        "/api/journeys/{journey}/resume",
        "/api/journeys/{journey}/archive",
        "/api/journeys/{journey}/enter",
        "/api/journeys/{journey}/graph",
        "/api/messages",
        "/api/customers/{customer}",
        "/api/reasons",
        "/api/keys",
        "/api/keys/{key_id}",
        "/api/set-aside",
        "/api/set-aside/counts",
        "/api/set-aside/replay",
        "/api/set-aside/{number}",
        "/api/set-aside/{number}/replay",
    }
    assert '"cart-abandonment"' in json.dumps(document)
    page = await console.get("/docs")
    assert page.status_code == 200
    for path in document["paths"]:
        assert path in page.text
    assert "<script" not in page.text
