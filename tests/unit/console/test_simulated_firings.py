"""Schedules, dates and catalogue events on the simulator's clock."""

import json
from datetime import datetime
from typing import Any

import pytest

from services.console.simulate import simulate
from services.journey.language.workspace import load_workspace
from shared.errors import BadInput

SETTINGS = "timezone: Asia/Seoul\nchannels:\n  push: {adapter: log}\npolicies: {consent: assumed}\n"
VIP = "segment: vip\nwhere: profile.tier == 'vip'\n"


def journey(trigger: str, *, steps: str = "[{send: push, template: t}]", rest: str = "") -> str:
    return f"journey: j\ncategory: transactional\ntrigger: {trigger}\n{rest}\nsteps: {steps}\n"


def person(name: str, at: str, **traits: Any) -> dict[str, Any]:
    return {
        "type": "identify",
        "userId": name,
        "timestamp": at,
        "traits": {"push_token": "t"} | traits,
    }


def track(name: str, at: str, event: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "userId": name,
        "timestamp": at,
        "event": event,
        "properties": properties,
    }


def catalog(at: str, event: str, **properties: Any) -> dict[str, Any]:
    return {"type": "catalog", "timestamp": at, "event": event, "properties": properties}


def rows(source: str, *lines: dict[str, Any], until: str | None = None) -> list[str]:
    """Instant and customer of every message."""
    files = {
        "dangol.yaml": SETTINGS,
        "segments/vip.yaml": VIP,
        "journeys/j.yaml": source,
        "templates/t/push.liquid": "---\ntitle: x\n---\ny",
    }
    workspace = load_workspace({name: text.encode() for name, text in files.items()})
    assert not workspace.problems
    stop = None if until is None else datetime.fromisoformat(until)
    given = [json.dumps(line).encode() for line in lines]
    found = simulate(workspace.flows, workspace.settings, given, stop, workspace.segments)
    return [f"{row['at']} {row['customer']}" for row in found]


MONDAYS = '{schedule: "0 10 * * mon", segment: vip}'


def test_a_schedule_fires_for_the_members_it_has_by_then() -> None:
    assert rows(
        journey(MONDAYS),
        person("in", "2026-03-01T00:00:00Z", tier="vip"),
        person("out", "2026-03-01T00:00:00Z", tier="none"),
        person("leaves", "2026-03-01T00:00:00Z", tier="vip"),
        person("just-in", "2026-03-02T01:00:00Z", tier="vip"),
        person("late", "2026-03-02T01:00:00.001Z", tier="vip"),
        person("leaves", "2026-03-03T00:00:00Z", tier="none"),
        until="2026-03-09T01:00:00+00:00",
    ) == [
        "2026-03-02T01:00:00Z in",
        "2026-03-02T01:00:00Z just-in",
        "2026-03-02T01:00:00Z leaves",
        "2026-03-09T01:00:00Z in",
        "2026-03-09T01:00:00Z just-in",
        "2026-03-09T01:00:00Z late",
    ]


def test_it_ends_30_days_after_the_last_event() -> None:
    at_the_last = "2026-02-28T01:00:00Z"  # 30 days before Monday 30 March, ten o'clock in Seoul
    mondays = [f"2026-03-{day:02}T01:00:00Z u" for day in (2, 9, 16, 23, 30)]
    assert rows(journey(MONDAYS), person("u", at_the_last, tier="vip")) == mondays
    earlier = person("u", "2026-02-28T00:59:59Z", tier="vip")
    assert rows(journey(MONDAYS), earlier) == mondays[:-1]


def test_a_schedule_of_another_zone_and_of_each_customer_s_own() -> None:
    people = [
        person("seoul", "2026-03-01T00:00:00Z", tier="vip", timezone="Asia/Seoul"),
        person("berlin", "2026-03-01T00:00:00Z", tier="vip", timezone="Europe/Berlin"),
        person("nowhere", "2026-03-01T00:00:00Z", tier="vip", timezone="Mars/Olympus"),
    ]
    in_berlin = '{schedule: "0 10 * * mon", timezone: Europe/Berlin, segment: vip}'
    assert rows(journey(in_berlin), *people, until="2026-03-03T00:00:00+00:00") == [
        f"2026-03-02T09:00:00Z {name}" for name in ("berlin", "nowhere", "seoul")
    ]
    own = '{schedule: "0 10 * * mon", timezone: customer, segment: vip}'
    assert rows(journey(own), *people, until="2026-03-03T00:00:00+00:00") == [
        "2026-03-02T01:00:00Z nowhere",
        "2026-03-02T01:00:00Z seoul",
        "2026-03-02T09:00:00Z berlin",
    ]


def test_a_customer_who_flies_west_between_two_firings_of_one_occasion_gets_it_once() -> None:
    own = '{schedule: "0 10 * * mon", timezone: customer, segment: vip}'
    assert rows(
        journey(own),
        person("u", "2026-03-01T00:00:00Z", tier="vip", timezone="Asia/Seoul"),
        person("u", "2026-03-02T02:00:00Z", timezone="Europe/Berlin"),
        until="2026-03-09T12:00:00+00:00",
    ) == ["2026-03-02T01:00:00Z u", "2026-03-09T09:00:00Z u"]


def test_a_schedule_obeys_the_entry_rules() -> None:
    steps = "[{send: push, template: t}, {wait: 7d12h}]"
    daily = '{schedule: "0 10 * * *", segment: vip}'
    member = person("u", "2026-03-01T00:00:00Z", tier="vip")
    until = "2026-03-12T00:00:00+00:00"
    assert rows(journey(daily, steps=steps), member, until=until) == [
        "2026-03-01T01:00:00Z u",
        "2026-03-09T01:00:00Z u",
    ]
    rest = "entry: {reentry: 3d}"
    assert rows(journey(daily, rest=rest), member, until="2026-03-07T12:00:00+00:00") == [
        "2026-03-01T01:00:00Z u",
        "2026-03-04T01:00:00Z u",
        "2026-03-07T01:00:00Z u",
    ]


BIRTHDAY = '{date: profile.birthday, offset: -3d, time: "10:00", every: year}'


def test_birthdays_in_each_customer_s_zone() -> None:
    assert rows(
        journey(BIRTHDAY),
        person("seoul", "2026-02-20T00:00:00Z", birthday="1990-03-08"),
        person("berlin", "2026-02-20T00:00:00Z", birthday="1990-03-08", timezone="Europe/Berlin"),
        person("leap", "2026-02-20T00:00:00Z", birthday="2000-02-29"),
        person("none", "2026-02-20T00:00:00Z"),
        person("odd", "2026-02-20T00:00:00Z", birthday="in spring"),
    ) == [
        "2026-02-25T01:00:00Z leap",
        "2026-03-05T01:00:00Z seoul",
        "2026-03-05T09:00:00Z berlin",
    ]


def test_a_changed_birthday_fires_for_the_new_date() -> None:
    once = '{date: profile.expires, time: "10:00"}'
    assert rows(
        journey(once),
        person("u", "2026-03-01T00:00:00Z", expires="2026-03-05"),
        person("u", "2026-03-05T02:00:00Z", expires="2026-03-04"),  # past already
        person("u", "2026-03-05T03:00:00Z", expires="2026-03-07"),
        person("at-once", "2026-03-05T01:00:00Z", expires="2026-03-05"),
        person("too-late", "2026-03-05T01:00:00.001Z", expires="2026-03-05"),
    ) == [
        "2026-03-05T01:00:00Z at-once",
        "2026-03-05T01:00:00Z u",
        "2026-03-07T01:00:00Z u",
    ]


def test_a_date_fires_once_for_who_changes_the_zone_on_the_day() -> None:
    assert rows(
        journey('{date: profile.birthday, time: "10:00", every: year}'),
        person("u", "2026-03-01T00:00:00Z", birthday="1990-03-05"),
        person("u", "2026-03-05T03:00:00Z", timezone="Europe/Berlin"),
    ) == ["2026-03-05T01:00:00Z u"]


def test_an_instant_without_a_time_fires_at_that_instant() -> None:
    ends = "{date: profile.trial_ends_at, offset: -1h}"
    assert rows(
        journey(ends), person("u", "2026-03-01T00:00:00Z", trial_ends_at="2026-03-04T12:34:56Z")
    ) == ["2026-03-04T11:34:56Z u"]


RESTOCK = (
    "{event: Product Restocked, where: event.stock > 0,"
    ' audience: \'did("Product Viewed", within="30d", where=e.sku == trigger.sku)\'}'
)


def test_a_catalogue_event_starts_everyone_whom_the_audience_selects() -> None:
    assert rows(
        journey(RESTOCK),
        track("other", "2026-03-01T00:00:00Z", "Product Viewed", sku="B"),
        track("too-early", "2026-02-01T00:00:00Z", "Product Viewed", sku="A"),
        track("in-time", "2026-03-01T00:00:00Z", "Product Viewed", sku="A"),
        track("own", "2026-03-01T00:00:00Z", "Product Restocked", sku="A", stock=5),
        catalog("2026-03-05T00:00:00Z", "Product Restocked", sku="A", stock=0),
        catalog("2026-03-06T00:00:00Z", "Product Restocked", sku="A", stock=5),
        catalog("2026-03-06T00:00:00Z", "Price Dropped", sku="A", stock=5),
        track("same-instant", "2026-03-06T00:00:00Z", "Product Viewed", sku="A"),
        track("after", "2026-03-06T00:00:00.001Z", "Product Viewed", sku="A"),
    ) == ["2026-03-06T00:00:00Z in-time", "2026-03-06T00:00:00Z same-instant"]


def test_trigger_and_event_are_the_catalogue_event() -> None:
    steps = (
        "[{branch: [{when: 'trigger.sku == \"A\" and trigger.stock == 5',"
        " steps: [{send: push, template: t}]}]}]"
    )
    viewed = track("u", "2026-03-01T00:00:00Z", "Product Viewed", sku="A")
    restocked = catalog("2026-03-06T00:00:00Z", "Product Restocked", sku="A", stock=5)
    entry = "entry: {key: event.sku, where: 'trigger.stock == event.stock'}"
    assert rows(journey(RESTOCK, steps=steps, rest=entry), viewed, restocked) == [
        "2026-03-06T00:00:00Z u"
    ]


@pytest.mark.parametrize(
    "line", [{"type": "catalog"}, {"type": "catalog", "event": "A", "properties": 1}]
)
def test_a_catalogue_line_without_a_name_is_refused(line: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="line 1: unusable catalogue event"):
        rows(journey(RESTOCK), line | {"timestamp": "2026-03-06T00:00:00Z"})


def test_an_id_that_has_become_a_customer_s_gets_nothing_of_its_own() -> None:
    anonymous = {"type": "track", "anonymousId": "a", "timestamp": "2026-03-01T00:00:00Z"}
    viewed = anonymous | {"event": "Product Viewed", "properties": {"sku": "A"}}
    known = person("u", "2026-03-01T00:01:00Z", birthday="1990-03-05") | {"anonymousId": "a"}
    restocked = catalog("2026-03-06T00:00:00Z", "Product Restocked", sku="A", stock=5)
    assert rows(journey(RESTOCK), viewed, known, restocked) == ["2026-03-06T00:00:00Z u"]
    birthday = journey('{date: profile.birthday, time: "10:00", every: year}')
    assert rows(birthday, viewed, known) == ["2026-03-05T01:00:00Z u"]
