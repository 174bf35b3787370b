"""The console's API, from request to database and back."""

import io
import json
import re
import zipfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.console.app import Console, create_app
from services.journey.core.state import AtTime, ForOutcome, Run, State, Trigger, pack
from shared.clock import REAL
from shared.db import embedded
from shared.db.connect import Pool, engine_for, open_pool
from shared.db.migrate import migrate
from shared.event import partition_of
from shared.keys import KeyRing
from shared.message import MessageContext
from shared.message import pack as pack_context

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


@pytest.fixture
async def console(dsn: str, pool: Pool) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a token, on an app of its own."""
    engine = engine_for(dsn)
    ring = KeyRing(pool, write_keys=[WRITE], admin_token=ADMIN)
    transport = httpx.ASGITransport(create_app(Console(pool, engine, ring, REAL)))
    async with httpx.AsyncClient(transport=transport, base_url="http://dangol.test") as client:
        yield client
    await engine.dispose()


@pytest.fixture
async def api(console: httpx.AsyncClient) -> httpx.AsyncClient:
    """The same with the admin's token."""
    console.headers["Authorization"] = f"Bearer {ADMIN}"
    return console


async def publish(api: httpx.AsyncClient, *names: str, wait: str = "1h") -> dict[str, Any]:
    response = await api.put("/api/workspace", content=zipped(workspace(*names, wait=wait)))
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


# Workspaces ----------------------------------------------------------------------------------


async def test_before_the_first_apply_the_workspace_is_revision_zero(
    api: httpx.AsyncClient,
) -> None:
    answer = (await api.get("/api/workspace")).json()
    assert answer == {
        "revision": 0,
        "hash": None,
        "active_from": None,
        "applied_by": None,
        "journeys": {},
    }
    assert (await api.get("/api/journeys")).json() == []


async def test_a_workspace_is_planned_applied_and_seen(api: httpx.AsyncClient) -> None:
    planned = await api.post("/api/workspace/plan", content=zipped(workspace("welcome")))
    assert planned.status_code == 200
    assert planned.json()["base_revision"] == 0
    assert [j["change"] for j in planned.json()["journeys"]] == ["added"]
    applied = await publish(api, "welcome")
    assert (applied["changed"], applied["revision"]) == (True, 1)
    again = await publish(api, "welcome")
    assert (again["changed"], again["revision"]) == (False, 1)
    newest = (await api.get("/api/workspace")).json()
    assert newest["revision"] == 1
    assert newest["hash"] == applied["hash"]
    assert newest["active_from"] == applied["active_from"]
    assert newest["applied_by"] == "environment"
    assert newest["journeys"] == {"welcome": 1}


async def test_an_apply_on_an_old_base_is_a_conflict(api: httpx.AsyncClient) -> None:
    await publish(api, "welcome")
    body = zipped(workspace("welcome", wait="2h"))
    response = await api.put("/api/workspace?base_revision=0", content=body)
    assert response.status_code == 409
    assert response.json()["code"] == "conflict"
    assert "revision 1" in response.json()["message"]


async def test_a_broken_workspace_is_refused_with_every_problem(api: httpx.AsyncClient) -> None:
    files = workspace("welcome", wait="1 fortnight")
    files["journeys/b.yaml"] = b"journey: b\ntrigger: {evnt: X}\nsteps: [{exit: done}]\n"
    for method, path in (("POST", "/api/workspace/plan"), ("PUT", "/api/workspace")):
        response = await api.request(method, path, content=zipped(files))
        assert response.status_code == 422
        answer = response.json()
        assert answer["code"] == "invalid_workspace"
        places = {(p["file"], p["line"]) for p in answer["problems"]}
        assert places == {("journeys/welcome.yaml", 5), ("journeys/b.yaml", 2)}
        first = answer["problems"][0]
        assert set(first) == {"file", "line", "column", "code", "message", "hint", "rendered"}
        assert first["rendered"].startswith("journeys/b.yaml:2:")
    assert (await api.get("/api/workspace")).json()["revision"] == 0


async def test_a_zip_of_the_folder_itself_with_its_litter_is_as_good(
    api: httpx.AsyncClient,
) -> None:
    files = {f"shop/{path}": content for path, content in workspace("welcome").items()}
    files |= {"shop/.git/config": b"x", "__MACOSX/shop/._dangol.yaml": b"x", "shop/README.md": b"x"}
    response = await api.put("/api/workspace", content=zipped(files))
    assert response.json()["journeys"][0]["journey"] == "welcome"
    plain = await api.put("/api/workspace", content=zipped(workspace("welcome")))
    assert plain.json()["changed"] is False


def bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(9):
            archive.writestr(f"templates/t/{number}.liquid", b"0" * 8_000_000)
    return buffer.getvalue()


def lying() -> bytes:
    """The directory understates the size of its file."""
    body = bytearray(zipped({"dangol.yaml": b"0" * 100_000}))
    entry = body.index(b"PK\x01\x02")
    body[entry + 24 : entry + 28] = (10).to_bytes(4, "little")
    return bytes(body)


def damaged() -> bytes:
    body = bytearray(zipped({"dangol.yaml": bytes(range(256)) * 20}))
    body[45:75] = b"\xff" * 30
    return bytes(body)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "no zip"),
        (b"garbage", "no zip"),
        (zipped({}), "no workspace"),
        (zipped({"README.md": b"x"}), "no workspace"),
        (zipped({"../dangol.yaml": b"x"}), "outside its folder"),
        (zipped({"/etc/dangol.yaml": b"x"}), "outside its folder"),
        (zipped({"journeys/..\\..\\x.yaml": b"x"}), "outside its folder"),
        (bomb(), "at most"),
        (lying(), "zip"),
        (damaged(), "zip"),
    ],
    ids=["empty", "garbage", "no files", "foreign files", "traversal", "absolute", "backslashes",
         "bomb", "lying", "damaged"],
)  # fmt: skip
async def test_a_body_that_is_no_workspace_is_refused(
    api: httpx.AsyncClient, body: bytes, said: str
) -> None:
    response = await api.put("/api/workspace", content=body)
    assert response.status_code == 400, response.text
    assert said in response.json()["message"]


async def test_a_body_is_bounded_while_it_arrives(api: httpx.AsyncClient) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 2**20
            yield bytes(2**20)

    response = await api.put("/api/workspace", content=endless())
    assert response.status_code == 413
    assert response.json()["code"] == "too_large"
    assert sent <= 18 * 2**20


async def test_runs_in_flight_can_only_be_pinned_so_far(api: httpx.AsyncClient) -> None:
    body = zipped(workspace("welcome"))
    response = await api.put("/api/workspace?in_flight=migrate", content=body)
    assert response.status_code == 400
    assert "not available in this release yet" in response.json()["message"]
    assert (await api.put("/api/workspace?in_flight=x", content=body)).status_code == 422


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


# Journeys ------------------------------------------------------------------------------------


async def count(pool: Pool, *rows: tuple[int, str, str, str, int]) -> None:
    """partition, journey, step, what, n"""
    await pool.executemany(
        "INSERT INTO counts (partition, journey, version, step, what, n)"
        " VALUES ($1, $2, 1, $3, $4, $5)",
        rows,
    )


async def test_journeys_are_listed_with_their_totals(api: httpx.AsyncClient, pool: Pool) -> None:
    await publish(api, "welcome", "birthday")
    await publish(api, "welcome")
    await count(
        pool,
        (0, "welcome", "", "entered", 10),
        (1, "welcome", "", "entered", 5),
        (0, "welcome", "hello", "ended:completed", 4),
        (1, "welcome", "pause", "ended:exit", 2),
        (1, "welcome", "pause", "ended:restart", 3),
        (1, "welcome", "", "refused:too_old", 7),
    )
    birthday, welcome = (await api.get("/api/journeys")).json()
    assert welcome == {
        "id": "welcome",
        "title": "환영",
        "status": "active",
        "version": 1,
        "entered": 15,
        "live": 9,
        "ended": 6,
        "refused": 7,
    }
    assert (birthday["id"], birthday["status"], birthday["version"]) == (
        "birthday",
        "archived",
        None,
    )


async def test_a_journey_shows_steps_reasons_and_messages(
    api: httpx.AsyncClient, pool: Pool
) -> None:
    await publish(api, "welcome")
    await count(
        pool,
        (0, "welcome", "", "entered", 10),
        (0, "welcome", "hello", "reached", 6),
        (0, "welcome", "pause", "reached", 9),
        (1, "welcome", "pause", "reached", 1),
        (0, "welcome", "older", "reached", 2),
        (0, "welcome", "hello", "ended:completed", 4),
        (0, "welcome", "pause", "ended:exit", 2),
        (1, "welcome", "pause", "ended:exit", 1),
        (1, "welcome", "", "refused:too_old", 7),
    )
    await store_messages(pool, 3, decision="sent")
    await store_messages(pool, 2, first=10, decision="dropped", reason="frequency_cap")
    await store_messages(pool, 1, first=20)
    answer = (await api.get("/api/journeys/welcome")).json()
    assert answer["file"] == "journeys/welcome.yaml"
    assert answer["steps"] == [
        {"step": "pause", "kind": "wait", "reached": 10, "ended": {"exit": 3}},
        {"step": "hello", "kind": "send", "reached": 6, "ended": {"completed": 4}},
        {"step": "older", "kind": None, "reached": 2, "ended": {}},
    ]
    assert answer["ended_by"] == {"completed": 4, "exit": 3}
    assert answer["refused_by"] == {"too_old": 7}
    assert answer["messages"] == [
        {"channel": "email", "decision": "dropped", "reason": "frequency_cap", "messages": 2},
        {"channel": "email", "decision": "sent", "reason": None, "messages": 3},
        {"channel": "email", "decision": None, "reason": None, "messages": 1},
    ]


async def test_a_journey_is_paused_resumed_and_archived(api: httpx.AsyncClient) -> None:
    await publish(api, "welcome")
    for verb, status, was in [
        ("pause", "paused", "active"),
        ("pause", "paused", "paused"),
        ("resume", "active", "paused"),
        ("archive", "archived", "active"),
    ]:
        response = await api.post(f"/api/journeys/welcome/{verb}")
        assert response.json() == {"id": "welcome", "status": status, "was": was}
    assert (await api.post("/api/journeys/welcome/pause")).status_code == 409


async def test_an_unknown_journey_is_not_found(api: httpx.AsyncClient) -> None:
    await publish(api, "welcome")
    for method, path in (("GET", ""), ("POST", "/pause")):
        response = await api.request(method, f"/api/journeys/welcom{path}")
        assert response.status_code == 404
        assert "welcome" in response.json()["hint"]


# Messages ------------------------------------------------------------------------------------


async def store_messages(
    pool: Pool,
    number: int,
    *,
    first: int = 0,
    customer: str = "u1",
    journey: str = "welcome",
    decision: str | None = None,
    reason: str | None = None,
    at: datetime = NOON,
    held: str | None = None,
) -> None:
    """Messages a second apart from `at` on; undecided ones are queued."""
    decided_at = at + timedelta(hours=1) if decision else None
    await pool.executemany(
        "INSERT INTO messages (partition, id, customer, run_id, journey, version, step, category,"
        " priority, channels, template, context, created_at, decidable_at, not_before, status,"
        " channel, decision, reason, decided_at, provider_id, attempts, passed_over, held_reason)"
        " VALUES ($1, $2, $3, 'r1', $4, 1, 'hello', 'marketing', 50, '{email,sms}', 'hello', $5,"
        " $6, $6, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        [
            (
                partition_of(customer, PARTITIONS),
                f"m{first + n:03}",
                customer,
                journey,
                pack_context(MessageContext()),
                at + timedelta(seconds=n),
                "decided" if decision else "queued",
                "email" if decision else None,
                decision,
                reason,
                decided_at,
                "p1" if decision == "sent" else None,
                1 if decision == "sent" else 0,
                [{"channel": "push", "reason": "no_address"}] if decision == "sent" else [],
                held,
            )
            for n in range(number)
        ],
    )


async def test_a_message_shows_its_decision_and_how_it_came_to_it(
    api: httpx.AsyncClient, pool: Pool
) -> None:
    await publish(api, "welcome")
    await store_messages(pool, 1, decision="sent")
    (row,) = (await api.get("/api/messages")).json()
    assert row == {
        "at": "2026-03-02T13:00:00Z",
        "customer": "u1",
        "journey": "welcome",
        "step": "hello",
        "channel": "email",
        "decision": "sent",
        "reason": None,
        "id": "m000",
        "created_at": "2026-03-02T12:00:00Z",
        "provider_id": "p1",
        "attempts": 1,
        "template": "hello",
        "version": 1,
        "category": "marketing",
        "held_out": False,
        "channels": ["email", "sms"],
        "passed_over": [{"channel": "push", "reason": "no_address"}],
        "status": "decided",
        "held_reason": None,
        "not_before": None,
    }


async def test_an_undecided_message_says_why_and_until_when_it_waits(
    api: httpx.AsyncClient, pool: Pool
) -> None:
    await publish(api, "welcome")
    await store_messages(pool, 1, held="quiet_hours")
    (row,) = (await api.get("/api/messages?decision=undecided")).json()
    assert (row["at"], row["decision"], row["channel"]) == (None, None, "email")
    assert (row["held_reason"], row["not_before"]) == ("quiet_hours", "2026-03-02T12:00:00Z")


async def test_messages_are_found_by_customer_journey_and_decision(
    api: httpx.AsyncClient, pool: Pool
) -> None:
    await publish(api, "welcome", "cart")
    await store_messages(pool, 2, decision="sent")
    await store_messages(pool, 1, first=10, customer="u2", journey="cart", decision="dropped")
    await store_messages(pool, 1, first=20, customer="u2")

    async def found(query: str) -> list[str]:
        response = await api.get(f"/api/messages{query}")
        assert response.status_code == 200, response.text
        return [row["id"] for row in response.json()]

    assert await found("") == ["m001", "m020", "m010", "m000"]
    assert await found("?customer=u2") == ["m020", "m010"]
    assert await found("?journey=welcome") == ["m001", "m020", "m000"]
    assert await found("?decision=sent") == ["m001", "m000"]
    assert await found("?decision=undecided") == ["m020"]
    assert await found("?customer=u2&journey=cart&decision=dropped") == ["m010"]
    assert await found("?customer=nobody") == []
    assert await found("?journey=nothing") == []


@pytest.mark.parametrize("query", ["?", "?customer=u1", "?journey=welcome&decision=sent"])
async def test_pages_lead_through_all_messages_once(
    api: httpx.AsyncClient, pool: Pool, query: str
) -> None:
    await publish(api, "welcome")
    await store_messages(pool, 23, decision="sent")
    await store_messages(pool, 4, first=100, decision="sent")  # created at the same instants
    seen: list[str] = []
    path = f"/api/messages{query}&limit=5"
    while path:
        response = await api.get(path)
        seen += [row["id"] for row in response.json()]
        link = re.fullmatch(r'<(.*)>; rel="next"', response.headers.get("Link", ""))
        path = link[1] if link else ""
    everything = [(n, f"m{n:03}") for n in range(23)] + [(n, f"m{100 + n}") for n in range(4)]
    assert seen == [name for _, name in sorted(everything, reverse=True)]


async def test_before_an_instant_is_a_place_too(api: httpx.AsyncClient, pool: Pool) -> None:
    await publish(api, "welcome")
    await store_messages(pool, 3, decision="sent")
    rows = (await api.get("/api/messages?before=2026-03-02T12:00:02Z")).json()
    assert [row["id"] for row in rows] == ["m001", "m000"]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=501",
        "limit=x",
        "decision=maybe",
        "before=x",
        "customer=a%00",
        "before=%00",
    ],
)
async def test_a_query_that_does_not_fit_is_the_callers_mistake(
    api: httpx.AsyncClient, query: str
) -> None:
    response = await api.get(f"/api/messages?{query}")
    assert response.status_code in (400, 422)
    assert response.json()["code"] == "bad_request"
    assert isinstance(response.json()["message"], str)


# Customers -----------------------------------------------------------------------------------


async def test_a_customer_shows_traits_runs_and_consents(
    api: httpx.AsyncClient, pool: Pool
) -> None:
    await publish(api, "welcome", "cart")
    customer = "shop/u 1"
    trigger = Trigger("Signed Up")
    runs = (
        Run("r1", "cart", 1, "", NOON, trigger, "hello", ForOutcome("m000")),
        Run("r2", "welcome", 1, "k", NOON, trigger, "pause", AtTime(NOON + timedelta(hours=2))),
    )
    partition = partition_of(customer, PARTITIONS)
    await pool.execute(
        "INSERT INTO customers (partition, id, traits, state) VALUES ($1, $2, $3, $4)",
        partition,
        customer,
        {"email": "a@example.com"},
        pack(State(runs=runs)),
    )
    await pool.execute(
        "INSERT INTO consents VALUES ($1, $2, 'email', true, $3)", partition, customer, NOON
    )
    await store_messages(pool, 1, customer=customer, at=NOON + timedelta(minutes=1))
    answer = (await api.get("/api/customers/shop%2Fu%201")).json()
    assert answer["id"] == customer
    assert answer["traits"] == {"email": "a@example.com"}
    assert answer["consents"] == [
        {"channel": "email", "granted": True, "stated_at": "2026-03-02T12:00:00Z"}
    ]
    cart, welcome = answer["runs"]
    assert (cart["step"], cart["since"], cart["until"]) == ("hello", "2026-03-02T12:01:00Z", None)
    assert cart["waits_for_message"] == "m000"
    assert (welcome["step"], welcome["key"]) == ("pause", "k")
    assert (welcome["since"], welcome["until"]) == ("2026-03-02T13:00:00Z", "2026-03-02T14:00:00Z")


async def test_an_unknown_customer_is_not_found(api: httpx.AsyncClient) -> None:
    response = await api.get("/api/customers/nobody")
    assert response.status_code == 404
    assert response.json()["code"] == "not_found"


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
        pool, engine = await open_pool(server.dsn, size=4, name="test"), engine_for(server.dsn)
        console = Console(pool, engine, KeyRing(pool, admin_token=ADMIN), REAL)
        transport = httpx.ASGITransport(create_app(console))
        headers = {"Authorization": f"Bearer {ADMIN}"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://dangol.test", headers=headers
        ) as api:
            await publish(api, "welcome")
            assert (await api.get("/api/journeys")).status_code == 200
            embedded.stop(server)
            for method, path in [*READS[:4], *ADMINISTERS[:1], *MARKETS[1:], *READS[:4]]:
                response = await api.request(method, path)
                assert response.status_code == 503, (method, path, response.text)
                assert response.headers["Retry-After"].isdigit()
                assert response.json() == {
                    "code": "unavailable",
                    "message": "not available right now; try again",
                }
        pool.terminate()
        await engine.dispose()
    finally:
        embedded.stop(server)


async def test_the_api_describes_itself_with_examples(console: httpx.AsyncClient) -> None:
    document = (await console.get("/openapi.json")).json()
    assert set(document["paths"]) == {
        "/api/workspace",
        "/api/workspace/plan",
        "/api/journeys",
        "/api/journeys/{journey}",
        "/api/journeys/{journey}/pause",
        "/api/journeys/{journey}/resume",
        "/api/journeys/{journey}/archive",
        "/api/messages",
        "/api/customers/{customer}",
        "/api/reasons",
        "/api/keys",
        "/api/keys/{key_id}",
    }
    assert '"cart-abandonment"' in json.dumps(document)
    page = await console.get("/docs")
    assert page.status_code == 200
    for path in document["paths"]:
        assert path in page.text
    assert "<script" not in page.text
