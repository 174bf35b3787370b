"""A random day, as the simulator tells it and as two dispatchers live it: the same rows."""

import json
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ruamel.yaml import YAML

from services.console.simulate import simulate
from services.journey.language.workspace import load_workspace
from shared.db.connect import Pool
from tests.integration.dispatching import House, until

pytestmark = pytest.mark.usefixtures("pool")

BEGIN = datetime(2026, 3, 7, 15, tzinfo=UTC)
"""New York's clocks jump in the night that follows."""
DAY = timedelta(hours=24)
PEOPLE, EVENTS = 14, 280
ZONES = ("Asia/Seoul", "America/New_York", "Europe/Berlin", None)
SETTINGS = """
timezone: Asia/Seoul
country: KR
policies:
  packs: [kr-marketing]
  sender: {name: 상점, address: 서울시 예시구 보기로 1}
  met_elsewhere: [kr-marketing/consent-result, kr-marketing/consent-renewal]
  existing_customers: [{journeys: [c], goods: coffee, bought_at: profile.coffee_bought_at}]
  quiet_hours:
    - {category: marketing, from: "20:50", to: "08:00"}
    - {channels: [push], from: "11:00", to: "15:00", then: drop}
    - {channels: [email], never: true}
  frequency_caps:
    - {category: marketing, limit: 3, per: 12h, then: hold}
    - {channels: [sms], limit: 1, per: 6h}
  expire_after: 10h
channels: {email: {adapter: log}, sms: {adapter: log}, push: {adapter: log}}
"""
MAIL = """---
subject: (광고) 봄
---
<p>수신을 원하지 않으시면 <a href="{{ unsubscribe_url }}">수신거부</a>.
<a href="{{ unsubscribe_url }}">Unsubscribe</a> 상점 02-000-0000 hello@shop.example</p>
"""
TEMPLATES = {
    "templates/hello/email.liquid": MAIL,
    "templates/hello/sms.liquid": "(광고)[상점] 02-000-0000\n봄\n무료수신거부 080-000-0000\n",
    "templates/hello/push.liquid": (
        "---\ntitle: (광고) 상점\n---\n봄{% unless profile.odd %}. 수신거부: 설정{% endunless %}\n"
    ),
}
SENDS: dict[str, tuple[tuple[str, ...], str, int]] = {
    "a": (("sms", "email"), "marketing", 50),
    "b": (("push", "sms", "email"), "marketing", 90),
    "c": (("sms",), "marketing", 20),
    "d": (("email", "push"), "marketing", 50),
    "e": (("sms", "email"), "transactional", 50),
    "f": (("push",), "marketing", 70),
}


def journey(name: str) -> str:
    (first, *others), category, priority = SENDS[name]
    rest = f", else: [{', '.join(others)}]" if others else ""
    return (
        f"journey: {name}\ncategory: {category}\npriority: {priority}\n"
        f"trigger: {{event: {name}}}\n"
        f"entry: {{key: event.number}}\nsteps: [{{send: {first}{rest}, template: hello, id: m}}]\n"
    )


def people(dice: random.Random) -> dict[str, dict[str, Any]]:
    found = {}
    for number in range(PEOPLE):
        consent = {c: dice.random() < 0.85 for c in ("email", "sms", "push") if dice.random() < 0.9}
        traits: dict[str, Any] = {"consent": consent | {"night": dice.random() < 0.3}}
        own = {
            "email": f"u{number}@shop.example",
            "phone": f"+8210{number:08d}",
            "push_token": f"token {number}",
            "timezone": dice.choice(ZONES),
            "coffee_bought_at": dice.choice(["2025-09-07", "2025-09-08", "2026-01-01"]),
            "birthday": dice.choice(["1990-01-01", "2012-03-09"]),
            "odd": dice.random() < 0.3,
        }
        kept = {name: value for name, value in own.items() if dice.random() < 0.85}
        traits |= {name: value for name, value in kept.items() if value is not None}
        found[f"u{number}"] = traits
    return found


def happenings(dice: random.Random) -> list[tuple[datetime, str, str]]:
    """Instant, customer and journey; many at one instant, nobody twice in one journey then."""
    found: set[tuple[datetime, str, str]] = set()
    while len(found) < EVENTS:
        minutes = dice.randrange(0, 24 * 60, 5)
        found.add(
            (
                BEGIN + timedelta(minutes=minutes),
                f"u{dice.randrange(PEOPLE)}",
                dice.choice("abcdef"),
            )
        )
    return sorted(found)


def simulated(
    who: dict[str, dict[str, Any]], what: list[tuple[datetime, str, str]]
) -> list[tuple[Any, ...]]:
    files = {"dangol.yaml": SETTINGS, **TEMPLATES}
    files |= {f"journeys/{name}.yaml": journey(name) for name in SENDS}
    loaded = load_workspace({path: text.encode() for path, text in files.items()})
    assert loaded.problems == ()
    early = (BEGIN - timedelta(hours=1)).isoformat()
    lines = [
        {"type": "identify", "userId": name, "traits": traits, "timestamp": early}
        for name, traits in who.items()
    ]
    lines += [
        {
            "type": "track",
            "userId": name,
            "event": event,
            "timestamp": at.isoformat(),
            "properties": {"number": number},
        }
        for number, (at, name, event) in enumerate(what)
    ]
    encoded = [json.dumps(line).encode() for line in lines]
    rows = simulate(loaded.flows, loaded.settings, encoded, templates=loaded.templates)
    return sorted(
        (
            row["at"],
            row["customer"],
            row["journey"],
            row["channel"],
            row["decision"],
            row["reason"] or "",
        )
        for row in rows
    )


async def lived(
    house: House, who: dict[str, dict[str, Any]], what: list[tuple[datetime, str, str]]
) -> list[tuple[Any, ...]]:
    house.clock.move_to(BEGIN - timedelta(hours=1))
    settings = YAML(typ="safe").load(SETTINGS)
    del settings["channels"]
    templates = {path: text.encode() for path, text in TEMPLATES.items()}
    policies = {"consent": "required", **settings.pop("policies")}
    await house.publish(policies=policies, templates=templates, **settings)
    for name, traits in who.items():
        await house.customer(name, traits=traits, consents=traits["consent"])
    for number, (at, name, event) in enumerate(what):
        channels, category, priority = SENDS[event]
        await house.message(
            f"m{number}", customer=name, channels=channels, at=at, journey=event, step="m",
            category=category, priority=priority,
        )  # fmt: skip
    async with house.dispatching(house.dispatcher(), house.dispatcher()):
        while (due := await _next(house)) is not None:
            house.move_to(due)
            await until(lambda: _is_quiet(house))
    rows = await house.pool.fetch("SELECT * FROM messages")
    return sorted(
        (
            row["decided_at"].isoformat().replace("+00:00", "Z"),
            row["customer"],
            row["journey"],
            row["channel"],
            row["decision"],
            row["reason"] or "",
        )
        for row in rows
    )


async def _next(house: House) -> datetime | None:
    found: datetime | None = await house.pool.fetchval(
        "SELECT min(not_before) FROM messages WHERE status <> 'decided'"
    )
    return found


async def _is_quiet(house: House) -> bool:
    """Nothing is left of this instant."""
    left: int = await house.pool.fetchval(
        "SELECT count(*) FROM messages WHERE status = 'attempting'"
        " OR (status = 'queued' AND not_before <= $1)",
        house.clock.now(),
    )
    return left == 0


@pytest.fixture
async def house(pool: Pool, dsn: str) -> AsyncIterator[House]:
    async with House.open(dsn) as found:
        yield found


@pytest.mark.parametrize("seed", [1, 3])
async def test_a_random_day_is_lived_as_it_is_simulated(house: House, seed: int) -> None:
    dice = random.Random(seed)
    who, what = people(dice), happenings(dice)
    told = simulated(who, what)
    reasons = {row[5] for row in told}
    assert {"", "no_consent", "unsubscribed", "frequency_cap", "quiet_hours", "expired"} <= reasons
    assert {"template_error", "no_address"} <= reasons
    assert await lived(house, who, what) == told
