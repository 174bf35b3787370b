"""What the API shows of journeys, messages and customers."""

import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import httpx
import pytest

from services.journey.core.state import AtTime, ForOutcome, Run, State, Trigger, pack
from shared.db.connect import Pool
from shared.event import partition_of
from shared.message import MessageContext
from shared.message import pack as pack_context
from tests.integration.consoling import NOON, PARTITIONS, client, publish


@pytest.fixture
async def api(dsn: str, pool: Pool) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the admin's token."""
    async with client(dsn, pool) as api:
        yield api


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
        "detail": None,
        "provider_said": None,
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
        "held_because": None,
    }


async def test_a_message_shows_what_its_provider_has_said_last(
    api: httpx.AsyncClient, pool: Pool
) -> None:
    await publish(api, "welcome")
    await store_messages(pool, 3, decision="sent")
    partition = partition_of("u1", PARTITIONS)
    await pool.executemany(
        "INSERT INTO attempts (partition, message_id, number, channel, adapter, dispatcher,"
        " started_at, outcome, detail) VALUES ($1, $2, $3, $4, $5, 'd', now(), 'accepted', $6)",
        [
            (partition, "m000", 1, "email", "ses", "454 throttled"),
            (partition, "m000", 2, "email", "ses", "report: bounced 550 5.1.1 user unknown"),
            (partition, "m001", 1, "alimtalk", "nhn", "report: 3019"),
            (partition, "m001", 2, "email", "smtp", ""),
            (partition, "m002", 1, "email", "log", '{"body": "the message itself"}'),
        ],
    )
    found = {row["id"]: row["provider_said"] for row in (await api.get("/api/messages")).json()}
    assert found == {
        "m000": "report: bounced 550 5.1.1 user unknown",
        "m001": "alimtalk: report: 3019",
        "m002": None,
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
        "before=0001-01-01T00:00:00%2B23:59",
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


async def test_an_anonymous_id_leads_to_the_user_whom_it_belongs_to(
    api: httpx.AsyncClient, pool: Pool
) -> None:
    await publish(api, "welcome")
    for name, owner in (("u1", None), ("device", "tablet"), ("tablet", "u1")):
        await pool.execute(
            "INSERT INTO customers (partition, id, traits, state, forwarded_to)"
            " VALUES ($1, $2, $3, $4, $5)",
            partition_of(name, PARTITIONS),
            name,
            {} if owner else {"email": "a@example.com"},
            pack(State(forward=owner or "")),
            owner,
        )
    await store_messages(pool, 1, customer="u1", at=NOON)
    answer = (await api.get("/api/customers/device")).json()
    assert (answer["id"], answer["asked_for"]) == ("u1", "device")
    assert answer["traits"] == {"email": "a@example.com"}
    answer = (await api.get("/api/customers/u1")).json()
    assert (answer["asked_for"], answer["linked"]) == (None, ["tablet"])
    for name in ("u1", "tablet", "device"):
        rows = (await api.get("/api/messages", params={"customer": name})).json()
        assert [row["customer"] for row in rows] == ["u1"], name


async def test_an_unknown_customer_is_not_found(api: httpx.AsyncClient) -> None:
    response = await api.get("/api/customers/nobody")
    assert response.status_code == 404
    assert response.json()["code"] == "not_found"


async def test_a_journey_is_drawn_with_its_counts(api: httpx.AsyncClient, pool: Pool) -> None:
    await publish(api, "welcome")
    await count(pool, (0, "welcome", "pause", "reached", 7), (1, "welcome", "pause", "reached", 5))
    answer = (await api.get("/api/journeys/welcome/graph?lang=ko&live=true")).json()
    assert answer["version"] == 1
    assert "도달 12 · 현재 0" in answer["svg"]
    assert "flowchart TD" in answer["mermaid"]


async def test_a_journey_that_is_not_published_has_no_picture(api: httpx.AsyncClient) -> None:
    await publish(api, "welcome")
    answer = await api.get("/api/journeys/welcom/graph")
    assert answer.status_code == 404
    assert "welcome" in answer.json()["hint"]


async def test_results_are_read_from_counters_and_conversions(
    api: httpx.AsyncClient, pool: Pool
) -> None:
    await publish(api, "welcome")
    await count(
        pool,
        (0, "welcome", "", "entered", 60),
        (1, "welcome", "", "entered", 50),
        (1, "welcome", "", "held_out:workspace", 10),
    )
    await pool.executemany(
        "INSERT INTO conversions (partition, run_id, customer, journey, version, held_out,"
        " variants, entered_at, at, value)"
        " VALUES (0, $1, 'u', 'welcome', 1, $2, '{}', $3, $3, $4)",
        [("r1", False, NOON, 5.0), ("r2", False, NOON, 7.0), ("r3", True, NOON, None)],
    )
    found = (await api.get("/api/journeys/welcome/results?lang=ko")).json()
    assert (found["treated"]["entered"], found["treated"]["converted"]) == (100, 2)
    assert (found["held_out"]["entered"], found["held_out"]["converted"]) == (10, 1)
    assert found["treated"]["revenue"] == 12.0
    assert found["lift"]["verdict"] == "no_goal"
    assert (await api.get("/api/journeys/nobody/results")).status_code == 404
