"""Planning and applying workspaces on a real PostgreSQL."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from services.console.publish import Applied, apply, plan, set_status
from services.console.refusal import Refused
from services.journey.core.state import AtTime, Run, State, Trigger, pack
from shared import workspace_store
from shared.clock import REAL, Clock, wall_clock
from shared.db.connect import Pool
from shared.errors import BadInput, Conflict, NotFound
from tests.patience import SOON

SETTINGS = b"channels:\n  email: {adapter: log}\n"
TEMPLATE = b'---\nsubject: "Hello"\n---\n<p>Hello {{ profile.name }}</p>\n'


def journey(name: str, wait: str = "1h") -> bytes:
    return (
        f"journey: {name}\ntrigger: {{event: Signed Up}}\nsteps:\n"
        f"  - wait: {wait}\n  - send: email\n    template: hello\n"
    ).encode()


def workspace(*names: str, wait: str = "1h", **more: bytes) -> dict[str, bytes]:
    files = {f"journeys/{name}.yaml": journey(name, wait) for name in names}
    return {"dangol.yaml": SETTINGS, "templates/hello/email.liquid": TEMPLATE, **files, **more}


async def published(pool: Pool, files: dict[str, bytes], base: int | None = None) -> Applied:
    return await apply(pool, files, "kim", REAL, base)


def changes(applied: Applied) -> dict[str, tuple[str, int | None]]:
    return {c.journey: (c.change, c.version) for c in applied.journeys}


async def statuses(pool: Pool) -> dict[str, str]:
    return {row["id"]: row["status"] for row in await pool.fetch("SELECT * FROM journeys")}


async def test_the_first_apply_publishes_at_once(pool: Pool) -> None:
    before = wall_clock()
    applied = await published(pool, workspace("welcome", "cart"))
    assert applied.changed
    assert applied.revision == 1
    assert before <= applied.active_from <= wall_clock()
    assert changes(applied) == {"cart": ("added", 1), "welcome": ("added", 1)}
    assert await statuses(pool) == {"cart": "active", "welcome": "active"}
    async with pool.acquire() as connection:
        newest = await workspace_store.newest(connection)
    assert newest is not None
    assert newest.files == workspace("welcome", "cart")
    assert newest.journeys == {"cart": 1, "welcome": 1}
    assert newest.settings.channels["email"].adapter == "log"


async def test_the_same_workspace_again_changes_nothing_and_says_so(pool: Pool) -> None:
    first = await published(pool, workspace("welcome"))
    again = await published(pool, workspace("welcome"))
    assert not again.changed
    assert (again.revision, again.active_from) == (first.revision, first.active_from)
    assert changes(again) == {"welcome": ("unchanged", 1)}
    assert await pool.fetchval("SELECT count(*) FROM workspaces") == 1


async def test_other_line_ends_are_no_new_version(pool: Pool) -> None:
    await published(pool, workspace("welcome"))
    crlf = {
        **workspace("welcome"),
        "journeys/welcome.yaml": journey("welcome").replace(b"\n", b"\r\n"),
    }
    assert changes(await published(pool, crlf)) == {"welcome": ("unchanged", 1)}


async def test_a_changed_journey_gets_the_next_version_and_its_old_text_the_old_one(
    pool: Pool,
) -> None:
    await published(pool, workspace("welcome"))
    second = await published(pool, workspace("welcome", wait="2h"))
    assert changes(second) == {"welcome": ("changed", 2)}
    back = await published(pool, workspace("welcome"))
    assert changes(back) == {"welcome": ("changed", 1)}
    assert not back.journeys[0].is_new
    assert back.revision == 3
    assert await pool.fetchval("SELECT count(*) FROM journey_versions") == 2
    third = await published(pool, workspace("welcome", wait="3h"))
    assert changes(third) == {"welcome": ("changed", 3)}


async def test_a_journey_whose_file_is_gone_is_archived_and_comes_back_with_it(pool: Pool) -> None:
    await published(pool, workspace("welcome", "cart"))
    gone = await published(pool, workspace("welcome"))
    assert changes(gone) == {"cart": ("removed", None), "welcome": ("unchanged", 1)}
    assert await statuses(pool) == {"cart": "archived", "welcome": "active"}
    back = await published(pool, workspace("welcome", "cart"))
    assert changes(back)["cart"] == ("added", 1)
    assert await statuses(pool) == {"cart": "active", "welcome": "active"}


async def test_a_paused_journey_stays_paused_when_it_is_changed(pool: Pool) -> None:
    await published(pool, workspace("welcome"))
    assert await set_status(pool, "welcome", "paused") == "active"
    await published(pool, workspace("welcome", wait="2h"))
    assert await statuses(pool) == {"welcome": "paused"}


async def test_a_journey_archived_by_hand_stays_archived_while_its_file_stays(pool: Pool) -> None:
    await published(pool, workspace("welcome", "cart"))
    await set_status(pool, "cart", "archived")
    await published(pool, workspace("welcome", "cart", wait="2h"))
    assert (await statuses(pool))["cart"] == "archived"


async def test_a_revision_comes_into_force_a_real_second_ahead_of_its_commit(pool: Pool) -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    clock = Clock(real_start=wall_clock(), virtual_start=start, speed=1440)
    first = await apply(pool, workspace("welcome"), "kim", clock)
    before = clock.now()
    second = await apply(pool, workspace("welcome", wait="2h"), "kim", clock)
    ahead = clock.real_delay(second.active_from - before)
    assert 1.0 <= ahead < 3.0
    assert start <= first.active_from < second.active_from


async def test_a_revision_comes_after_the_last_one_even_if_the_clock_went_back(pool: Pool) -> None:
    ahead = Clock(virtual_start=datetime(1970, 1, 11, tzinfo=UTC))
    first = await apply(pool, workspace("welcome"), "kim", ahead)
    second = await published(pool, workspace("welcome", wait="2h"))
    assert second.active_from - first.active_from == timedelta(microseconds=1)


async def test_two_applies_at_once_take_turns(pool: Pool) -> None:
    both = await asyncio.gather(
        published(pool, workspace("welcome", wait="1h")),
        published(pool, workspace("welcome", wait="2h")),
    )
    assert sorted(applied.revision for applied in both) == [1, 2]
    assert sorted(v or 0 for a in both for _, v in changes(a).values()) == [1, 2]
    assert await pool.fetchval("SELECT count(*) FROM journey_versions") == 2


async def test_of_two_applies_with_one_base_only_the_first_is_published(pool: Pool) -> None:
    await published(pool, workspace("welcome"))
    both = await asyncio.gather(
        published(pool, workspace("welcome", wait="2h"), base=1),
        published(pool, workspace("welcome", wait="3h"), base=1),
        return_exceptions=True,
    )
    lost = [result for result in both if isinstance(result, Conflict)]
    won = [result for result in both if isinstance(result, Applied)]
    assert len(lost) == len(won) == 1
    assert "revision 2 is the newest, not 1" in str(lost[0])
    assert await pool.fetchval("SELECT max(revision) FROM workspaces") == 2


async def test_a_broken_workspace_is_refused_whole_with_every_problem(pool: Pool) -> None:
    await published(pool, workspace("welcome"))
    broken = workspace("welcome", "cart", wait="2h")
    broken["journeys/cart.yaml"] = journey("cart", "1 fortnight").replace(b"email", b"pigeon")
    with pytest.raises(Refused) as refused:
        await published(pool, broken)
    assert {problem.line for problem in refused.value.problems} == {4, 5}
    assert "2 problems" in str(refused.value)
    assert await pool.fetchval("SELECT max(revision) FROM workspaces") == 1
    assert await pool.fetchval("SELECT count(*) FROM journey_versions") == 1


async def test_nothing_is_half_applied_when_the_revision_cannot_be_stored(pool: Pool) -> None:
    await pool.execute("ALTER TABLE workspaces ADD CHECK (applied_by <> 'kim')")
    with pytest.raises(Exception, match="workspaces_applied_by_check"):
        await published(pool, workspace("welcome"))
    assert await pool.fetchval("SELECT count(*) FROM journey_versions") == 0
    assert await statuses(pool) == {}


async def rules(pool: Pool) -> list[dict[str, object]]:
    return [row["in_flight"] for row in await pool.fetch("SELECT in_flight FROM workspaces")]


async def live(pool: Pool, *runs: tuple[str, int, str]) -> None:
    await pool.execute(
        "INSERT INTO customers (partition, id, state) VALUES (0, 'u1', $1)", customer_with(*runs)
    )


async def test_a_rule_for_runs_in_flight_is_kept_for_the_journeys_that_change(pool: Pool) -> None:
    await published(pool, workspace("welcome", "cart", "old"))
    wanted = workspace("welcome", "new") | {"journeys/cart.yaml": journey("cart", "2h")}
    applied = await apply(pool, wanted, "kim", REAL, in_flight="migrate")
    assert applied.in_flight == "migrate"
    assert await rules(pool) == [
        {},
        {
            "cart": {"rule": "migrate", "version": 2},
            "old": {"rule": "migrate", "version": None},
        },
    ]


async def test_the_same_workspace_is_applied_again_for_runs_that_were_left_behind(
    pool: Pool,
) -> None:
    await published(pool, workspace("welcome"))
    await published(pool, workspace("welcome", wait="2h"))
    again = workspace("welcome", wait="2h")
    await live(pool, ("welcome", 2, "wait-1"))
    nobody = await apply(pool, again, "kim", REAL, in_flight="end")
    assert not nobody.changed
    await pool.execute("DELETE FROM customers")
    await live(pool, ("welcome", 1, "wait-1"))
    applied = await apply(pool, again, "kim", REAL, in_flight="end")
    assert (applied.changed, applied.revision) == (True, 3)
    assert (await rules(pool))[2] == {"welcome": {"rule": "end", "version": 2}}
    assert not (await published(pool, again)).changed


async def test_an_unknown_rule_for_runs_in_flight_is_refused(pool: Pool) -> None:
    with pytest.raises(BadInput, match="no rule for runs in flight"):
        await apply(pool, workspace("welcome"), "kim", REAL, in_flight="stop")
    assert await pool.fetchval("SELECT count(*) FROM workspaces") == 0


async def test_an_apply_wakes_whoever_waits_for_workspaces(pool: Pool) -> None:
    heard = asyncio.Event()
    async with pool.acquire() as connection:

        def hear(*_: object) -> None:
            heard.set()

        await connection.add_listener(workspace_store.CHANNEL, hear)
        await published(pool, workspace("welcome"))
        await asyncio.wait_for(heard.wait(), SOON)
        heard.clear()
        await set_status(pool, "welcome", "paused")
        await asyncio.wait_for(heard.wait(), SOON)
        await connection.remove_listener(workspace_store.CHANNEL, hear)


# Plans ---------------------------------------------------------------------------------------


async def test_a_plan_shows_changes_and_stores_nothing(pool: Pool) -> None:
    await published(pool, workspace("welcome", "cart"))
    wanted = workspace("welcome", "birthday", wait="2h")
    wanted["dangol.yaml"] = SETTINGS + b"timezone: Asia/Seoul\n"
    async with pool.acquire() as connection:
        planned = await plan(connection, wanted)
    assert planned.base_revision == 1
    assert not planned.identical
    by_name = {change.journey: change for change in planned.journeys}
    assert {name: change.change for name, change in by_name.items()} == {
        "welcome": "changed",
        "birthday": "added",
        "cart": "removed",
    }
    assert (by_name["welcome"].was, by_name["welcome"].version) == (1, 2)
    assert "-  - wait: 1h\n+  - wait: 2h" in by_name["welcome"].diff
    assert [(change.file, change.change) for change in planned.files] == [
        ("dangol.yaml", "changed")
    ]
    assert "+timezone: Asia/Seoul" in planned.files[0].diff
    assert await pool.fetchval("SELECT max(revision) FROM workspaces") == 1


async def test_a_plan_of_the_published_workspace_is_identical(pool: Pool) -> None:
    await published(pool, workspace("welcome"))
    async with pool.acquire() as connection:
        planned = await plan(connection, workspace("welcome"))
    assert planned.identical
    assert planned.files == ()


def customer_with(*runs: tuple[str, int, str]) -> bytes:
    now = datetime(2026, 3, 2, tzinfo=UTC)
    made = tuple(
        Run(f"r{n}", journey_, version, "", now, Trigger("Signed Up"), step, AtTime(now))
        for n, (journey_, version, step) in enumerate(runs)
    )
    return pack(State(runs=made))


async def test_a_plan_counts_live_runs_by_version_and_step_exactly(pool: Pool) -> None:
    await published(pool, workspace("welcome"))
    rows = [(f"a{n}", customer_with(("welcome", 1, "wait-1"))) for n in range(1200)]
    rows += [
        (f"b{n}", customer_with(("welcome", 2, "send-2"), ("cart", 1, "wait-1"))) for n in range(3)
    ]
    rows += [("c", customer_with())]
    await pool.executemany("INSERT INTO customers (partition, id, state) VALUES (0, $1, $2)", rows)
    async with pool.acquire() as connection:
        planned = await plan(connection, workspace("welcome", wait="2h"))
    assert [(f.version, f.step, f.runs) for f in planned.journeys[0].in_flight] == [
        (1, "wait-1", 1200),
        (2, "send-2", 3),
    ]


SPLITTING = """
journey: welcome
trigger: {event: Signed Up}
steps:
%s  - split:
      - {variant: a, weight: 1, steps: [{wait: 1h, id: a-wait}]}
      - {variant: b, weight: 1, steps: []}
  - wait: 2h
"""


async def test_a_plan_says_what_pin_migrate_and_end_would_do(pool: Pool) -> None:
    files = workspace("other") | {"journeys/welcome.yaml": (SPLITTING % "").encode()}
    await published(pool, files)
    await live(
        pool, ("welcome", 1, "a-wait"), ("welcome", 1, "wait-2"), ("welcome", 1, "a-wait"),
        ("other", 1, "wait-1"),
    )  # fmt: skip
    wanted = files | {"journeys/welcome.yaml": (SPLITTING % "  - wait: 5m\n").encode()}
    async with pool.acquire() as connection:
        other, changed = (await plan(connection, wanted)).journeys
    assert [(f.step, f.runs, f.migrates) for f in changed.in_flight] == [
        ("a-wait", 2, True),
        ("wait-2", 1, False),
    ]
    assert (changed.moves, changed.stays, changed.ends) == (2, 1, 3)
    warning, gone = changed.warnings
    assert warning.startswith("the split `split-1` is `split-2` now, and divides")
    assert gone.startswith("1 run of version 1 waits at `wait-2`, which is gone")
    assert "give it `id: split-1`" in warning
    assert (other.moves, other.stays, other.ends, other.warnings) == (0, 0, 0, ())
    assert [f.runs for f in other.in_flight] == [1]


async def test_a_plan_of_the_same_workspace_says_what_became_of_runs_left_behind(
    pool: Pool,
) -> None:
    await published(pool, workspace("welcome"))
    await published(pool, workspace("welcome", wait="2h"))
    await live(pool, ("welcome", 1, "send-2"), ("welcome", 1, "wait-1"), ("welcome", 2, "wait-1"))
    async with pool.acquire() as connection:
        planned = await plan(connection, workspace("welcome", wait="2h"))
    (change,) = planned.journeys
    assert planned.identical
    assert (change.moves, change.stays, change.ends) == (1, 1, 2)


# Statuses ------------------------------------------------------------------------------------


async def test_pause_resume_and_archive_change_the_status(pool: Pool) -> None:
    await published(pool, workspace("welcome"))
    assert await set_status(pool, "welcome", "paused") == "active"
    assert await set_status(pool, "welcome", "paused") == "paused"
    assert await set_status(pool, "welcome", "active") == "paused"
    assert await set_status(pool, "welcome", "archived") == "active"
    with pytest.raises(Conflict, match="archived"):
        await set_status(pool, "welcome", "paused")
    assert await set_status(pool, "welcome", "active") == "archived"


async def test_an_unknown_journey_is_not_found_with_a_suggestion(pool: Pool) -> None:
    await published(pool, workspace("welcome"))
    with pytest.raises(NotFound) as missing:
        await set_status(pool, "welcom", "paused")
    assert "welcome" in missing.value.hint


async def test_a_journey_without_its_file_cannot_be_resumed(pool: Pool) -> None:
    await published(pool, workspace("welcome", "cart"))
    await published(pool, workspace("welcome"))
    with pytest.raises(Conflict, match="its file is gone"):
        await set_status(pool, "cart", "active")
