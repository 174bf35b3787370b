"""`dangol explain` and `dangol backtest` on a real database."""

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from services.console import erasures
from services.journey.core.state import State, pack
from shared.clock import REAL, wall_clock
from shared.db.connect import Pool
from shared.db.migrate import HEAD
from shared.event import Event, encode, partition_of
from tests.conftest import PARTITIONS
from tests.integration.test_console_command import ADMIN, Run, folder, run, server

__all__ = ["folder", "run", "server"]

LIVE = "journey: welcome\ntrigger: {event: Signed Up, where: event.plan == 'pro'}\n"
STEPS = "steps: [{wait: 1h}, {exit: done}]\n"


@pytest.fixture
async def here(run: Run, folder: Path, pool: Pool, dsn: str) -> Mapping[str, str]:
    """A published journey, and a customer whose sign-up it does not take."""
    (folder / "workspace/journeys/welcome.yaml").write_text(LIVE + STEPS)
    environment = {"DANGOL_DATABASE_URL": dsn}
    applied = await run("apply", "workspace", **environment)
    assert applied.status == 0, applied.err
    await pool.execute("UPDATE workspaces SET active_from = active_from - interval '1 day'")
    at, place = wall_clock() - timedelta(hours=2), partition_of("u1", PARTITIONS)
    event = Event(
        id="m1", kind="track", name="Signed Up", timestamp=at, user_id="u1",
        properties={"plan": "free"}, received_at=at,
    )  # fmt: skip
    await pool.execute(
        "INSERT INTO customers (partition, id, state) VALUES ($1, 'u1', $2)", place, pack(State())
    )
    await pool.execute(
        "INSERT INTO history (partition, customer, received_at, id, kind, name, happened_at, event)"
        " VALUES ($1, 'u1', $2, 'm1', 'track', 'Signed Up', $2, $3)",
        place,
        at,
        encode(event),
    )
    return environment


async def test_it_tells_why_in_words_and_as_data(
    run: Run, here: Mapping[str, str], server: str
) -> None:
    asked = ("explain", "--customer", "u1", "--journey", "welcome")
    told = await run(*asked, **here)
    assert told.status == 0, told.err
    assert told.out.startswith("u1 · welcome\nThe customer has never entered this journey.\n")
    assert "`event.plan == 'pro'` does not hold: the event's plan was “free”." in told.out
    korean = await run(*asked, "--lang", "ko", **here)
    assert "이 여정에 들어간 적이 없는 고객입니다." in korean.out
    direct: dict[str, Any] = json.loads((await run(*asked, "--json", **here)).out)
    assert [fact["kind"] for fact in direct["facts"]] == ["event", "refused"]
    remote = await run(*asked, "--json", "--server", server, "--token", ADMIN)
    assert json.loads(remote.out) == direct, "a server says what the database says"


async def test_what_there_is_not_is_said(run: Run, here: Mapping[str, str]) -> None:
    nobody = await run("explain", "--customer", "u9", "--journey", "welcome", **here)
    assert nobody.status == 1
    assert "there is no customer `u9`" in nobody.err
    nothing = await run("explain", "--customer", "u1", "--journey", "farewell", **here)
    assert "there is no journey `farewell`" in nothing.err
    assert (await run("explain", "--customer", "u1", "--journey", "w", "--lang", "fr")).status == 2


async def test_a_draft_is_tried_over_the_history(
    run: Run, here: Mapping[str, str], folder: Path
) -> None:
    changed = LIVE.replace("'pro'", "'free'") + "steps: [{send: email, template: hello}]\n"
    (folder / "workspace/journeys/welcome.yaml").write_text(changed)
    template = folder / "workspace/templates/hello/email.liquid"
    template.parent.mkdir(parents=True)
    template.write_text("---\nsubject: Hello\n---\n<p>Hello</p>\n")
    done = await run("backtest", "workspace", "--since", "7d", "--json", **here)
    assert done.status == 0, done.err
    journey, people, total = map(json.loads, done.out.splitlines())
    assert journey["journey"] == "welcome"
    assert journey["draft"]["entered"] == 1
    assert journey["draft"]["dropped"] == {"no_consent": 1}
    assert journey["live"] == {
        "entered": 0,
        "refused": {},
        "sent": 0,
        "held": 0,
        "dropped": {},
    }
    assert (people["more"], people["fewer"], people["same"]) == (0, 0, 0)
    assert (total["type"], total["events"], total["customers"]) == ("total", 1, 1)
    shown = await run("backtest", "workspace", **here)
    assert "1 (+1)" in shown.out
    assert "no_consent 1 (+1)" in shown.out
    assert "nothing was stored or sent" in shown.err
    assert (await run("backtest", "workspace", "--since", "soon", **here)).status == 2


async def test_scripts_get_what_was_seen_and_done_as_json(
    run: Run, here: Mapping[str, str], folder: Path
) -> None:
    seen = await run("infer", "--json", **here)
    assert [json.loads(line) for line in seen.out.splitlines()] == [
        {
            "event": "Signed Up",
            "count": 1,
            "properties": [
                {"name": "plan", "type": "text", "required": True, "count": 1, "types": {"text": 1}}
            ],
        }
    ]
    both = await run("infer", "--json", "-o", "events.yaml", **here)
    assert both.out == seen.out
    assert "Signed Up" in (folder / "events.yaml").read_text()
    migrated = json.loads((await run("migrate", "--json", **here)).out)
    assert migrated == {"before": HEAD, "after": HEAD, "changed": False}


async def test_a_server_is_asked_for_pictures_results_and_traits(
    run: Run, here: Mapping[str, str], server: str, folder: Path, pool: Pool
) -> None:
    template = folder / "workspace/templates/hello/email.liquid"
    template.parent.mkdir(parents=True, exist_ok=True)
    template.write_text("---\nsubject: Hello {{ profile.name }}\n---\n<p>Hello</p>\n")
    await pool.execute("""UPDATE customers SET traits = '{"name": "Ann"}' WHERE id = 'u1'""")
    there = ("--json", "--server", server, "--token", ADMIN)
    drawn = json.loads((await run("graph", "welcome", *there)).out)
    assert (drawn["journey"], drawn["version"]) == ("welcome", 1)
    found = json.loads((await run("results", "welcome", *there)).out)
    assert (found["lift"]["verdict"], found["comparisons"]) == ("no_goal", [])
    shown = await run("preview", "hello", "--workspace", "workspace", "--customer", "u1", *there)
    assert json.loads(shown.out)["parts"] == {"subject": "Hello Ann"}
    told = await run("results", "welcome", "--lang", "ko", *there[1:])
    assert told.out.startswith("목표(goal)가 없어")


async def test_erasures_are_exported_and_asked_for_again(
    run: Run, here: Mapping[str, str], folder: Path, pool: Pool
) -> None:
    asked = await erasures.ask(pool, "u1", "kim", REAL)
    ledger = folder / "elsewhere.ndjson"
    ledger.write_text((await run("erasures", "export", **here)).out)
    assert json.loads(ledger.read_text())["id"] == asked.id
    nowhere = await run("erasures", "reapply", **here)
    assert (nowhere.status, "DANGOL_ERASURE_LEDGER" in nowhere.err) == (1, True)
    missing = await run("erasures", "reapply", "none.ndjson", **here)
    assert (missing.status, "there is no ledger" in missing.err) == (1, True)
    environment = {**here, "DANGOL_ERASURE_LEDGER": str(ledger)}
    nothing = await run("erasures", "reapply", **environment)
    assert nothing.out == "The database knows all 1 erasure of the ledger; nothing was changed.\n"
    await pool.execute("DELETE FROM erasures")
    await pool.execute("DELETE FROM log_outbox")
    doctor = await run("doctor", **environment)
    assert doctor.status == 1
    assert "does not know 1 of the ledger" in doctor.out
    done = await run("erasures", "reapply", "elsewhere.ndjson", "--json", **here)
    assert json.loads(done.out) == {"in_ledger": 1, "missing": 1, "customers": 1, "foreign": 0}
    assert await pool.fetchval("SELECT id FROM log_outbox") == asked.id
    ledger.write_text("nonsense\n")
    broken = await run("erasures", "reapply", **environment)
    assert broken.status == 1
    assert "elsewhere.ndjson:1 is no line of a ledger" in broken.err
