"""The breaker of sending domains: how complaints are counted, what waits for them, what goes on."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from services.cli.mail_checkup import check_mail_domains
from services.dispatch import metrics
from services.dispatch.complaints import Breaker
from services.dispatch.receipts.report import Report
from services.dispatch.receipts.store import Receipts
from shared import mail_complaints
from shared.errors import NotFound
from shared.mail_complaints import Rate, Standing, bin_of
from tests.conftest import PARTITIONS
from tests.integration.consoling import client
from tests.integration.dispatching import NOON, House, until

DOMAIN = "shop.example"
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House.open(dsn) as house:
        await house.pool.execute("UPDATE workspaces SET active_from = $1", NOON - 99 * DAY)
        yield house


async def sent(house: House, mails: int, at: datetime) -> None:
    await house.pool.execute(
        "INSERT INTO sent_mail VALUES ($1, $2, $3) ON CONFLICT (domain, since)"
        " DO UPDATE SET mails = sent_mail.mails + excluded.mails",
        DOMAIN, bin_of(at), mails,
    )  # fmt: skip


async def complaints(house: House, count: int, sent_at: datetime) -> None:
    start = await house.pool.fetchval("SELECT count(*) FROM complaints")
    await house.pool.executemany(
        "INSERT INTO complaints VALUES (0, $1, $2, $3, $4)",
        [(f"c{start + n}", DOMAIN, sent_at, house.clock.now()) for n in range(count)],
    )


async def standing(house: House) -> Standing:
    async with house.pool.acquire() as connection:
        (found,) = await mail_complaints.standings(connection, house.clock.now())
    return found


async def judged(house: House) -> Standing:
    await Breaker(house.pool, house.clock).turn()
    return await standing(house)


async def test_mails_are_counted_as_they_are_sent_and_complaints_once(house: House) -> None:
    for number in range(3):
        await house.message(f"ad {number}")
    await house.message("receipt", category="transactional")
    await house.message("text", channels=("sms",))
    async with house.dispatching():
        await house.decided("ad 0", "ad 1", "ad 2", "receipt", "text")
    receipts = Receipts(house.pool, PARTITIONS)
    reports = [Report("ad 0", "complained", "ann@shop.example", "marketing")] * 2
    reports += [
        Report("ad 1", "complained", closes="marketing", is_spam=False),
        Report("receipt", "complained", closes="marketing"),
        Report("ad 2", "bounced"),
    ]
    await receipts.keep(reports, house.clock.now())
    assert (await standing(house)).rate == Rate(3, 1)


async def test_a_complaint_counts_for_the_day_of_its_mail(house: House) -> None:
    await sent(house, 10_000, NOON - 30 * HOUR)
    await sent(house, 200, NOON - HOUR)
    await complaints(house, 6, NOON - 30 * HOUR)  # told today, of yesterday's campaign
    found = await judged(house)
    assert found.rate == Rate(10_000, 6)
    assert found.pause is None
    await complaints(house, 1, NOON - 60 * HOUR)  # older than what is looked at
    await complaints(house, 14, NOON - 30 * HOUR)
    found = await judged(house)
    assert found.rate == Rate(10_000, 20)
    assert found.pause is not None
    assert (found.pause.since, found.pause.until) == (NOON, NOON + DAY)


@pytest.mark.parametrize(("mails", "count"), [(10, 1), (99, 50), (1000, 4), (10_000, 19)])
async def test_few_mails_or_few_complaints_prove_nothing(
    house: House, mails: int, count: int
) -> None:
    await sent(house, mails, NOON - HOUR)
    await complaints(house, count, NOON - HOUR)
    assert (await judged(house)).pause is None


async def stop(house: House) -> None:
    await sent(house, 1000, NOON - HOUR)
    await complaints(house, 5, NOON - HOUR)
    assert (await judged(house)).pause is not None


async def test_advertising_waits_and_what_must_be_told_goes_on(house: House) -> None:
    await stop(house)
    await house.message("ad")
    await house.message("with else", channels=("email", "sms"))
    await house.message("by text", channels=("sms",))
    await house.message("receipt", category="transactional")
    async with house.dispatching():
        assert await house.decided("receipt", "by text") == [
            ("sent", None, "email"),
            ("sent", None, "sms"),
        ]
        for name in ("ad", "with else"):
            await until_held(house, name)
    for name in ("ad", "with else"):
        row = await house.row(name)
        assert (row["status"], row["held_reason"]) == ("queued", "channel_paused")
        assert row["not_before"] == NOON + DAY
        assert row["detail"] == (
            "advertising mail from shop.example waits: 5 complaints about 1,000 mails of a day"
            " (0.50%)"
        )
    assert house.provider.ids == ["receipt", "by text"]


async def test_another_domain_is_not_stopped(house: House) -> None:
    await stop(house)
    await house.publish(channels={"email": {"adapter": "fake", "from": "Other <a@other.example>"}})
    await house.message("ad")
    async with house.dispatching():
        assert await house.decided("ad") == [("sent", None, "email")]


@pytest.mark.parametrize("how", ["by itself", "by command"])
async def test_it_goes_on_by_itself_or_by_command_and_is_judged_anew(
    house: House, how: str
) -> None:
    await stop(house)
    await house.message("ad")
    async with house.dispatching():
        await until_held(house, "ad")
        if how == "by itself":
            house.move(DAY)
        else:
            house.move(HOUR)
            async with house.pool.acquire() as connection:
                await mail_complaints.resume(connection, DOMAIN, "kim", house.clock.now())
        assert await house.decided("ad") == [("sent", None, "email")]
    assert (await judged(house)).pause is None, "what it was stopped for is paid for"
    house.clock.move(HOUR)
    await sent(house, 500, house.clock.now())
    await complaints(house, 5, house.clock.now())
    assert (await judged(house)).pause is not None
    ended_by = await house.pool.fetchval("SELECT ended_by FROM mail_pauses")
    assert ended_by is None, "a new pause"


async def until_held(house: House, name: str) -> None:
    async def held() -> bool:
        return bool((await house.row(name))["held_reason"])

    await until(held)


async def test_the_api_shows_and_resumes(house: House, dsn: str) -> None:
    await stop(house)
    now = await house.pool.fetchval("SELECT now()")
    await house.pool.execute("UPDATE mail_pauses SET since = $1, until = $2", now, now + DAY)
    await house.pool.execute("UPDATE sent_mail SET since = $1", bin_of(now))
    await house.pool.execute("UPDATE complaints SET sent_at = $1", now)
    async with client(dsn, house.pool) as api:
        (row,) = (await api.get("/api/mail-domains")).json()
        assert (row["domain"], row["mails"], row["complaints"]) == (DOMAIN, 1000, 5)
        assert row["share"] == 0.005
        assert datetime.fromisoformat(row["paused_until"]) == now + DAY
        assert "5 complaints about 1,000 mails" in row["why"]
        assert (await api.post(f"/api/mail-domains/{DOMAIN}/resume")).status_code == 200
        again: Any = await api.post(f"/api/mail-domains/{DOMAIN}/resume")
        assert again.status_code == 404
        (row,) = (await api.get("/api/mail-domains")).json()
        assert row["paused_until"] is None
    with pytest.raises(NotFound):
        async with house.pool.acquire() as connection:
            await mail_complaints.resume(connection, DOMAIN, "kim", now + HOUR)


async def test_the_doctor_and_the_metrics_tell(house: House) -> None:
    await sent(house, 10_000, NOON - HOUR)
    await complaints(house, 12, NOON - HOUR)
    await judged(house)
    assert metrics.COMPLAINT_RATE.labels(DOMAIN)._value.get() == 0.0012
    assert metrics.MAIL_STOPPED.labels(DOMAIN)._value.get() == 0
    (finding,) = await check_mail_domains(house.pool, house.clock)
    assert (finding.verdict, finding.check) == ("warn", "mail shop.example")
    await complaints(house, 12, NOON - HOUR)
    await judged(house)
    assert metrics.COMPLAINTS.labels(DOMAIN)._value.get() == 24
    assert metrics.MAIL_STOPPED.labels(DOMAIN)._value.get() == 1
    (finding,) = await check_mail_domains(house.pool, house.clock)
    assert finding.verdict == "fail"
    assert "dangol mail-domains resume shop.example" in finding.hint
    metrics.leads(False)
