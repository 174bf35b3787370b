"""Which firings a stretch of time holds: late ones once, none from before a publish."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from services.journey.core.book import Book, Edition
from services.journey.core.flow import Flow
from services.journey.core.occasions import Due, due_firings, next_firing
from services.journey.core.spans import Span, Spans
from services.journey.language.compile import compile_journey
from shared.decisions import Refusal

SEOUL = ZoneInfo("Asia/Seoul")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


PUBLISHED = at("2026-03-01T00:00+09:00")


def flow(trigger: str, version: int = 1, entry: str = "{max_age: 9w}") -> Flow:
    source = f"journey: j\ntrigger: {trigger}\nentry: {entry}\nsteps: [{{wait: 1d}}]\n"
    return compile_journey(source, version)


def book(*editions: tuple[datetime, list[Flow]], pauses: Spans = ()) -> Book:
    flows = [each for _from, flows in editions for each in flows]
    return Book(
        [Edition.of(active_from, flows) for active_from, flows in editions],
        {(each.journey, each.version): each for each in flows},
        {"j": pauses} if pauses else None,
        SEOUL,
    )


def said(found: list[Due]) -> list[str]:
    return [
        f"{due.firing.at.astimezone(SEOUL):%m-%d %H:%M} v{due.firing.version} missed {due.missed}"
        for due in found
    ]


DAILY = '{schedule: "0 10 * * *", segment: vip}'


def test_an_instant_is_considered_once() -> None:
    house = book((PUBLISHED, [flow(DAILY)]))
    ten = at("2026-03-02T10:00+09:00")
    assert said(due_firings(house, "j", ten - HOUR, ten - timedelta(microseconds=1))) == []
    (due,) = due_firings(house, "j", ten - HOUR, ten)
    assert due.firing.late == timedelta(0)
    assert due.zones is None
    assert due_firings(house, "j", ten, ten + HOUR) == []
    assert next_firing(house, house.plans(ten)[0], ten) == ten + DAY


def test_what_was_missed_while_everything_was_down_fires_once_and_says_how_late() -> None:
    house = book((PUBLISHED, [flow(DAILY)]))
    (due,) = due_firings(house, "j", at("2026-03-02T10:00+09:00"), at("2026-03-05T13:00+09:00"))
    assert said([due]) == ["03-05 10:00 v1 missed 2"]
    assert due.firing.late == 3 * HOUR


def test_one_later_than_max_age_is_said_to_be_too_old() -> None:
    house = book((PUBLISHED, [flow(DAILY, entry="{max_age: 2h}")]))
    since = at("2026-03-02T09:00+09:00")
    (due,) = due_firings(house, "j", since, at("2026-03-02T12:00+09:00"))
    assert due.skipped is None
    (due,) = due_firings(house, "j", since, at("2026-03-02T12:00:00.000001+09:00"))
    assert due.skipped is Refusal.TOO_OLD


def test_nothing_fires_from_before_it_was_published_and_each_version_at_its_times() -> None:
    changed = at("2026-03-03T12:00+09:00")
    noon = flow('{schedule: "0 12 * * *", segment: vip}', version=2)
    house = book((PUBLISHED + 10 * HOUR, [flow(DAILY)]), (changed, [noon]))
    never = at("1970-01-01T00:00+00:00")
    assert said(due_firings(house, "j", never, PUBLISHED + 9 * HOUR)) == []
    assert said(due_firings(house, "j", never, at("2026-03-01T11:00+09:00"))) == [
        "03-01 10:00 v1 missed 0"
    ]
    assert said(due_firings(house, "j", at("2026-03-03T09:00+09:00"), changed)) == [
        "03-03 12:00 v2 missed 1"
    ]


def test_nothing_fires_for_instants_in_a_pause() -> None:
    pauses = (Span(at("2026-03-03T09:00+09:00"), at("2026-03-04T10:00+09:00")),)
    house = book((PUBLISHED, [flow(DAILY)]), pauses=pauses)
    since = at("2026-03-02T12:00+09:00")
    assert said(due_firings(house, "j", since, at("2026-03-04T09:00+09:00"))) == []
    assert said(due_firings(house, "j", since, at("2026-03-04T11:00+09:00"))) == [
        "03-04 10:00 v1 missed 0"
    ]


def test_each_customer_s_own_time_is_one_firing_for_each_moment() -> None:
    own = flow('{schedule: "0 10 * * mon", timezone: customer, segment: vip}')
    house = book((PUBLISHED, [own]))
    found = due_firings(house, "j", at("2026-03-01T12:00+00:00"), at("2026-03-03T12:00+00:00"))
    assert {due.firing.label for due in found} == {"2026-03-02T10:00"}
    assert len({due.firing.at for due in found}) == len(found) > 30
    (seoul,) = [due for due in found if due.zones and "Asia/Seoul" in due.zones]
    assert seoul.rest
    assert seoul.firing.at == at("2026-03-02T10:00+09:00")
    assert sum(due.rest for due in found) == 1
    zones = [zone for due in found for zone in due.zones or ()]
    assert len(zones) == len(set(zones)) > 400
    first = min(due.firing.at for due in found)
    assert next_firing(house, own, at("2026-03-01T12:00+00:00")) == first


def test_dates_fire_for_every_day_that_was_missed_as_far_as_max_age_lets_them() -> None:
    born = flow(
        '{date: profile.birthday, offset: -3d, time: "10:00", every: year}', entry="{max_age: 30h}"
    )
    house = book((PUBLISHED, [born]))
    now = at("2026-03-20T11:00+09:00")
    found = due_firings(house, "j", at("2026-03-02T12:00+09:00"), now)
    in_seoul = [due for due in found if due.zones and "Asia/Seoul" in due.zones]
    assert [due.firing.label for due in in_seoul if due.skipped is None] == [
        "2026-03-22",
        "2026-03-23",
    ]
    assert all(now - due.firing.at > 30 * HOUR for due in found if due.skipped)
    assert due_firings(house, "j", now, now) == []


def test_instants_are_looked_for_in_stretches() -> None:
    ends = flow("{date: profile.ends_at}")
    house = book((PUBLISHED, [ends]))
    start = at("2026-03-02T12:34:00+09:00")
    assert next_firing(house, ends, start) == start + timedelta(minutes=1)
    stretches = [
        due.firing
        for due in due_firings(house, "j", start, start + timedelta(minutes=1))
        if due.zones is None
    ]
    assert [(s.after, s.at) for s in stretches] == [(start, start + timedelta(minutes=1))]
