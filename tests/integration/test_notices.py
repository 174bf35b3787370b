"""Notices that a law asks for: who is owed one, what is told of it, and that it comes once."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from services.cli.library.build import Shop, build
from services.cli.library.catalogue import with_needs
from services.cli.notices_checkup import check_notices
from services.console.app import Console, create_app
from services.console.publish import apply
from services.dispatch import store
from services.dispatch.database import open_dispatch_pool
from services.dispatch.doors.api import door_routes
from services.dispatch.doors.links import Leave, make_links
from services.dispatch.doors.reception import make_reception
from services.dispatch.worker import WAKEUPS, Dispatcher
from services.journey import metrics
from services.journey.notices import NoticeWatch
from shared import message, notices
from shared.clock import REAL, wall_clock
from shared.db.connect import Pool, engine_for
from shared.db.wakeups import Wakeups
from shared.event import Event, partition_of
from shared.keys import KeyRing
from shared.message import MessageContext
from shared.notices import Notice, Owed
from shared.workspace_store import newest_settings
from tests.conftest import PARTITIONS
from tests.integration.consoling import ADMIN
from tests.integration.dispatching import HandClock
from tests.integration.test_identity import relaying, settled
from tests.integration.test_journey_worker import House, house

__all__ = ["house"]

NOW = datetime(2026, 11, 24, 3, tzinfo=UTC)
RESULT, RENEWAL = "kr-marketing/consent-result", "kr-marketing/consent-renewal"
_numbers = iter(range(1_000_000))


def days(count: float) -> datetime:
    """So many days ago."""
    return NOW - timedelta(days=count)


class Shelf:
    """A database with a Korean workspace, and rows put into it by hand."""

    def __init__(self, pool: Pool, dsn: str) -> None:
        self.pool = pool
        self.dsn = dsn

    async def publish(self, policies: str = "", *, without: str = "") -> None:
        chosen = with_needs(("consent-result", "consent-renewal"))
        files = build(chosen, "ko", Shop())
        settings = files["dangol.yaml"].replace("policies:\n", f"policies:\n{policies}")
        files = {**files, "dangol.yaml": settings}
        kept = {
            path: text.encode()
            for path, text in files.items()
            if not without or without not in path
        }
        await apply(self.pool, kept, "test", HandClock(days(800)))

    async def customer(self, name: str, belongs_to: str | None = None) -> None:
        await self.pool.execute(
            "INSERT INTO customers (partition, id, state, forwarded_to) VALUES ($1, $2, '', $3)",
            partition_of(name, PARTITIONS), name, belongs_to,
        )  # fmt: skip

    async def states(
        self,
        customer: str,
        at: datetime,
        granted: bool = True,
        *,
        channel: str = "email",
        recorded_at: datetime | None = None,
        imported: bool | None = False,
    ) -> None:
        await self.pool.execute(
            "INSERT INTO consent_ledger (partition, customer, channel, granted, stated_at, source,"
            " recorded_at, event_id, imported) VALUES ($1, $2, $3, $4, $5, 'web', $6, $7, $8)",
            partition_of(customer, PARTITIONS), customer, channel, granted, at, recorded_at or at,
            f"e{next(_numbers)}", imported,
        )  # fmt: skip

    async def told(
        self,
        customer: str,
        at: datetime,
        journey: str = "consent-result",
        decision: str | None = "sent",
        reason: str | None = None,
    ) -> str:
        name = f"m{next(_numbers)}"
        row = {
            "partition": partition_of(customer, PARTITIONS), "id": name, "customer": customer,
            "run_id": f"run {name}", "journey": journey, "version": 1, "step": "notice",
            "category": "transactional", "priority": 95, "channels": ["email", "sms"],
            "template": journey, "context": message.pack(MessageContext()), "created_at": at,
            "decidable_at": at, "not_before": at,
            "status": "queued" if decision is None else "decided", "decision": decision,
            "reason": reason, "channel": "email" if decision else None,
            "decided_at": at if decision else None,
        }  # fmt: skip
        marks = ", ".join(f"${n}" for n in range(1, len(row) + 1))
        await self.pool.execute(
            f"INSERT INTO messages ({', '.join(row)}) VALUES ({marks})", *row.values()
        )
        return name

    async def asked(self) -> dict[str, Notice]:
        async with self.pool.acquire() as connection:
            return {n.name: n for n in notices.in_force(await newest_settings(connection))}

    async def owed(self, notice: str = RESULT, until: datetime = NOW) -> list[Owed]:
        async with self.pool.acquire() as connection:
            asked = (await self.asked())[notice]
            found = await notices.listed(connection, asked, until, (days(9999), ""), 100)
            count, first = await notices.count(connection, asked, until)
            assert (count, first) == (len(found), found[0].due_at if found else None)
            return found

    async def who(self, notice: str = RESULT, until: datetime = NOW) -> list[str]:
        return [owed.customer for owed in await self.owed(notice, until)]

    @asynccontextmanager
    async def api(self) -> AsyncIterator[httpx.AsyncClient]:
        engine = engine_for(self.dsn)
        ring = KeyRing(self.pool, write_keys=[], admin_token=ADMIN)
        app = create_app(Console(self.pool, engine, ring, HandClock(NOW)))
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://dangol.test",
            headers={"Authorization": f"Bearer {ADMIN}"},
        ) as client:  # fmt: skip
            yield client
        await engine.dispose()


@pytest.fixture
async def shelf(pool: Pool, dsn: str) -> Shelf:
    shelf = Shelf(pool, dsn)
    await shelf.publish()
    return shelf


async def test_a_change_of_consent_is_due_after_fourteen_days(shelf: Shelf) -> None:
    await shelf.states("agreed", days(14))
    await shelf.states("refused", days(20), granted=False)
    await shelf.states("young", days(13.9))
    found = await shelf.owed()
    assert [(o.customer, o.due_at) for o in found] == [("refused", days(6)), ("agreed", days(0))]
    assert await shelf.who(until=NOW + timedelta(days=1)) == ["refused", "agreed", "young"]


async def test_what_was_told_is_not_owed_and_what_was_said_after_it_is(shelf: Shelf) -> None:
    await shelf.states("ann", days(100))
    await shelf.told("ann", days(99))
    await shelf.states("ben", days(100))
    await shelf.told("ben", days(99))
    await shelf.states("ben", days(30), granted=False)
    await shelf.states("ben", days(29), granted=False, channel="sms")
    (ben,) = await shelf.owed()
    assert (ben.customer, ben.since, ben.channels) == ("ben", days(30), ("email", "sms"))
    assert ben.told_at == days(99)


async def test_saying_the_same_again_or_late_is_no_news(shelf: Shelf) -> None:
    await shelf.states("ann", days(100))
    await shelf.told("ann", days(99))
    await shelf.states("ann", days(50))  # the same again
    await shelf.states("ben", days(100))
    await shelf.told("ben", days(99))
    await shelf.states("ben", days(100.5), granted=False, recorded_at=days(40))  # overtaken
    assert await shelf.who() == []


async def test_an_import_carries_over_what_others_have_told_of(shelf: Shelf) -> None:
    await shelf.states("ann", days(40), recorded_at=days(39), imported=True)
    await shelf.states("ben", days(400), recorded_at=days(100), imported=None)  # of before
    await shelf.states("cho", days(40), imported=None)
    assert await shelf.who() == ["cho"]


async def test_a_notice_to_an_id_of_before_the_login_counts(shelf: Shelf) -> None:
    for name, belongs_to in (("guest", "web"), ("web", "ann"), ("ann", None)):
        await shelf.customer(name, belongs_to)
    await shelf.states("ann", days(40))  # merged: it was the guest's
    await shelf.told("guest", days(39))
    assert await shelf.who() == []
    await shelf.states("ann", days(20), granted=False)
    assert await shelf.who() == ["ann"]


async def test_a_consent_is_confirmed_before_the_day_of_the_second_year(shelf: Shelf) -> None:
    given = datetime(2024, 11, 24, 14, 59, tzinfo=UTC)  # 23:59 in Seoul
    await shelf.states("ann", given)
    day = datetime(2026, 11, 23, 15, tzinfo=UTC)  # 24 November begins in Seoul
    assert await shelf.who(RENEWAL, day - timedelta(seconds=1)) == []
    (ann,) = await shelf.owed(RENEWAL, day)
    assert (ann.due_at, ann.since) == (day, given)


async def test_a_confirmation_begins_two_more_years_and_a_withdrawal_ends_them(
    shelf: Shelf,
) -> None:
    for name in ("told", "silent", "left", "back"):
        await shelf.states(name, days(1500))
        await shelf.states(name, days(1200))  # said again, which is no new consent
    await shelf.told("told", days(800), "consent-renewal")
    await shelf.told("told", days(100), "consent-renewal")
    await shelf.told("silent", days(800), "consent-renewal")
    await shelf.states("left", days(900), granted=False)
    await shelf.states("back", days(900), granted=False)
    await shelf.states("back", days(600))
    (silent,) = await shelf.owed(RENEWAL)
    assert (silent.customer, silent.since) == ("silent", days(1500))
    assert silent.told_at == days(800)


@pytest.mark.parametrize(
    ("decision", "reason", "why"),
    [
        ("dropped", "no_address", "no_address"),
        ("failed", "undeliverable", "undeliverable"),
        ("unknown", None, "unknown"),
        (None, None, "waiting"),
    ],
)
async def test_why_it_was_not_sent(
    shelf: Shelf, decision: str | None, reason: str | None, why: str
) -> None:
    await shelf.states("ann", days(40))
    name = await shelf.told("ann", days(39), decision=decision, reason=reason)
    (ann,) = await shelf.owed()
    assert (ann.why, ann.message) == (why, name)


async def test_why_nothing_was_made(shelf: Shelf) -> None:
    await shelf.states("ann", days(40))
    (ann,) = await shelf.owed()
    assert ann.why == "not_made"
    await shelf.pool.execute("UPDATE journeys SET status = 'paused' WHERE id = 'consent-result'")
    (ann,) = await shelf.owed()
    assert ann.why == "journey_paused"
    await shelf.publish(without="consent-result")
    (ann,) = await shelf.owed()
    assert ann.why == "no_journey"


async def test_what_another_system_tells_is_not_asked_for(shelf: Shelf) -> None:
    await shelf.publish(f"  met_elsewhere: [{RESULT}]\n")
    assert list(await shelf.asked()) == [RENEWAL]


async def test_the_api_lists_whom_since_when_and_why(shelf: Shelf) -> None:
    await shelf.states("ann", days(40))
    await shelf.told("ann", days(39), decision="dropped", reason="no_address")
    await shelf.states("ben", days(30))
    await shelf.states("cho", days(900))
    await shelf.told("cho", days(899))
    async with shelf.api() as api:
        first = await api.get("/api/notices", params={"limit": 2, "lang": "ko"})
        more = await api.get(first.links["next"]["url"])
        assert (await api.get("/api/notices?notice=consent-resul")).status_code == 404
    answer = first.json()
    assert {n["notice"]: n["customers"] for n in answer["notices"]} == {RESULT: 2, RENEWAL: 1}
    cho, ann = answer["customers"]
    assert (cho["customer"], cho["notice"], cho["overdue"]) == ("cho", RENEWAL, True)
    assert ann["title"] == "수신동의 처리결과 통지"
    assert ann["why"] == "no_address"
    assert ann["why_text"] == "이 채널로 보낼 수 있는 주소나 번호가 없습니다."
    assert datetime.fromisoformat(ann["due_at"]) == days(26)
    assert [row["customer"] for row in more.json()["customers"]] == ["ben"]


async def test_a_customers_page_shows_the_flag_and_the_evidence(shelf: Shelf) -> None:
    await shelf.publish("  met_elsewhere: []\n")  # a newer revision, of today
    await shelf.pool.execute("UPDATE workspaces SET active_from = $1 WHERE revision = 1", days(500))
    await shelf.customer("ann")
    await shelf.pool.execute("""UPDATE customers SET traits = '{"email": "ann@shop.example"}'""")
    await shelf.states("ann", days(400))
    given = await shelf.told("ann", days(399))
    await shelf.states("ann", days(20), granted=False)
    async with shelf.api() as api:
        page = (await api.get("/api/customers/ann/notices")).json()
        assert (await api.get("/api/customers/nobody/notices")).status_code == 404
    (owed,) = page["owed"]
    assert (owed["why"], owed["overdue"]) == ("not_made", True)
    (proof,) = page["given"]
    assert (proof["message"], proof["revision"], proof["channel"]) == (given, 1, "email")
    assert proof["file"] == "templates/consent-result/email.liquid"
    assert "수신동의 처리결과 안내" in proof["wording"]
    assert len(proof["wording_hash"]) == 64


async def test_the_timeline_tells_from_when_a_notice_was_overdue(house: House, dsn: str) -> None:
    shelf = Shelf(house.pool, dsn)
    await shelf.publish()
    async with house.running():
        seen = Event(id="s", kind="track", name="Seen", timestamp=wall_clock(), user_id="ann")
        await house.log.append([seen])
        await house.caught_up()
    await shelf.states("ann", days(20))
    async with shelf.api() as api:
        texts = {}
        for language in ("en", "ko"):
            answer = await api.get("/api/customers/ann/timeline", params={"lang": language})
            (row,) = [r for r in answer.json() if r["kind"] == "notice_overdue"]
            texts[language] = row["text"]
    assert datetime.fromisoformat(row["at"]) == days(6)
    assert "the result of a consent" in texts["en"]
    assert "has made no message" in texts["en"]
    assert "기한이 지났습니다: 수신동의 처리결과 통지" in texts["ko"]


async def test_the_doctor_and_the_metric_count_them(shelf: Shelf) -> None:
    await shelf.states("ann", days(40))
    await shelf.states("ben", days(30))
    await NoticeWatch(shelf.pool, HandClock(NOW)).turn()
    gauge = metrics.NOTICES_OVERDUE
    assert gauge.labels(RESULT)._value.get() == 2
    assert gauge.labels(RENEWAL)._value.get() == 0
    late = metrics.NOTICES_OVERDUE_SECONDS.labels(RESULT)._value.get()
    assert late == timedelta(days=26).total_seconds()
    told = {f.verdict: f.message for f in await check_notices(shelf.pool, HandClock(NOW))}
    assert told["fail"].startswith(f"{RESULT}: 2 customers have not been told in time")
    assert "2026-10-29" in told["fail"]
    assert told["ok"] == f"{RENEWAL}: none is overdue"
    metrics.leads(False)


# The real thing ------------------------------------------------------------------------------


def workspace() -> Mapping[str, bytes]:
    """The library's own journey; only its ten minutes are over at once."""
    files = build(with_needs(("consent-result",)), "ko", Shop())
    path = "journeys/consent-result.yaml"
    assert "- wait: 10m" in files[path]
    text = files[path].replace("- wait: 10m", "- wait: 1s").partition("\ntests:")[0]
    return {name: content.encode() for name, content in {**files, path: text}.items()}


@asynccontextmanager
async def dispatching(dsn: str) -> AsyncIterator[Pool]:
    pool = await open_dispatch_pool(dsn, size=4)
    wakeups, stopping = Wakeups(dsn, WAKEUPS), asyncio.Event()
    dispatcher = Dispatcher(pool, REAL, wakeups, partitions=PARTITIONS, environment={})
    tasks = [asyncio.create_task(part.run(stopping)) for part in (wakeups, dispatcher)]
    try:
        yield pool
    finally:
        stopping.set()
        await asyncio.gather(*tasks)
        await pool.close()


async def test_who_has_withdrawn_is_told_so_exactly_once(house: House, dsn: str) -> None:
    await apply(house.pool, workspace(), "test", REAL)
    sent = "SELECT count(*) = $1 FROM messages WHERE decision = 'sent'"

    def stating(**consent: bool) -> Event:
        traits: dict[str, Any] = {"email": "ann@shop.example", "consent": consent}
        name = f"i{next(_numbers)}"
        return Event(id=name, kind="identify", timestamp=wall_clock(), user_id="ann", traits=traits)

    async with relaying(house), house.running(), dispatching(dsn) as pool:
        await house.log.append([stating(email=True)])
        await house.until(sent, 1)
        leave = Leave("ann", "email", "", "hash")
        links = make_links("https://shop.example", await store.address_key(pool))
        app = FastAPI()
        app.include_router(
            door_routes(make_reception(pool, REAL, PARTITIONS, "https://shop.example"))
        )
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as web:
            for _ in range(2):  # a mail program may do it again
                body = "List-Unsubscribe=One-Click"
                answer = await web.post(links.preferences(leave), content=body)
                assert answer.status_code == 200
        # The shop's own system says the same once more, later.
        await house.log.append([stating(email=False)])
        await settled(house)
        await house.until(sent, 2)
        await house.until("SELECT NOT EXISTS (SELECT FROM timers WHERE customer = 'ann')")
        await settled(house)
    rows = await house.pool.fetch("SELECT journey, decision FROM messages ORDER BY created_at")
    assert [tuple(row) for row in rows] == [("consent-result", "sent")] * 2
    # Long behind it, it proves both.
    shelf = Shelf(house.pool, dsn)
    assert await shelf.who(until=wall_clock() + timedelta(days=60)) == []
