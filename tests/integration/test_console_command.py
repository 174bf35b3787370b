"""The command at work: on the database directly, and over the API of a running console."""

import asyncio
import base64
import contextlib
import json
import logging
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import structlog
from prometheus_client import CollectorRegistry

from services.cli import backend
from services.cli.app import call
from services.cli.health import health_routes
from services.cli.web import listen, serve
from services.console.app import Console, create_app
from shared.clock import REAL
from shared.db.connect import Pool, engine_for
from shared.keys import KeyRing
from shared.logs import configure

DANGOL = str(Path(sys.executable).parent / "dangol")
ADMIN = "the-admin-token"
JOURNEY = "journey: welcome\ntrigger: {event: Signed Up}\nsteps: [{wait: 1h}, {exit: done}]\n"


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str


Run = Callable[..., Awaitable[Done]]


@pytest.fixture
def run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    """The command in this process, in a thread: it talks to servers and has a loop of its own.

    Nobody listens at its usual address, whatever else runs on this machine.
    """
    monkeypatch.chdir(folder)
    monkeypatch.setattr(backend, "DEFAULT_SERVER", "http://127.0.0.1:1")
    handlers = logging.getLogger().handlers[:]
    configure("error")  # what the server beside it logs is not the command's

    async def run(*arguments: str, **environment: str) -> Done:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        status = await asyncio.to_thread(call, arguments)
        return Done(status, *capsys.readouterr())

    yield run
    logging.getLogger().handlers[:] = handlers
    structlog.reset_defaults()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The current folder, with a workspace in it."""
    journeys = tmp_path / "workspace/journeys"
    journeys.mkdir(parents=True)
    (journeys.parent / "dangol.yaml").write_text("channels:\n  email: {adapter: log}\n")
    (journeys / "welcome.yaml").write_text(JOURNEY)
    return tmp_path


def silent_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture
async def server(pool: Pool, dsn: str) -> AsyncIterator[str]:
    """A running console's address."""
    engine = engine_for(dsn)
    app = create_app(Console(pool, engine, KeyRing(pool, admin_token=ADMIN), REAL))
    app.include_router(health_routes({}, {}, CollectorRegistry()))
    stopping = asyncio.Event()
    with contextlib.closing(listen("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        task = asyncio.create_task(serve(app, sock, stopping))
        yield f"http://127.0.0.1:{port}"
        stopping.set()
        await task
    await engine.dispose()


# Over the API --------------------------------------------------------------------------------


async def test_a_workspace_is_planned_applied_and_paused_over_the_api(
    server: str, run: Run, pool: Pool
) -> None:
    here = {"DANGOL_SERVER": server, "DANGOL_ADMIN_TOKEN": ADMIN}
    planned = await run("plan", "workspace", **here)
    assert planned.status == 0, planned.err
    assert "+ welcome: version 1, from journeys/welcome.yaml" in planned.out
    assert "Publish it with: dangol apply workspace" in planned.out
    applied = await run("apply", "workspace", "--json", **here)
    assert json.loads(applied.out)["revision"] == 1
    again = await run("apply", "workspace", **here)
    assert "Nothing to do: this very workspace is published, as revision 1." in again.out
    paused = await run("pause", "welcome", **here)
    assert paused.out == "welcome is paused now; it was active.\n"
    assert await pool.fetchval("SELECT status FROM journeys") == "paused"


async def test_a_plan_warns_and_its_status_says_whether_there_is_something_to_do(
    server: str, run: Run, folder: Path
) -> None:
    here = ("--server", server, "--token", ADMIN)
    assert (await run("plan", "workspace", "--exit-code", *here)).status == 2
    await run("apply", "workspace", *here)
    assert (await run("plan", "workspace", "--exit-code", *here)).status == 0
    settings = folder / "workspace/dangol.yaml"
    settings.write_text(settings.read_text() + "policies: {consent: assumed}\n")
    (folder / "workspace/events.yaml").write_text("events:\n  Sign Up:\n")
    other = JOURNEY.replace("journey: welcome", "journey: welcome-2")
    (folder / "workspace/journeys/welcome.yaml").write_text(other)
    planned = await run("plan", "workspace", *here)
    assert planned.status == 0
    assert "    warning: it starts as `welcome` did, which goes" in planned.out
    assert "\nwarning: consent is assumed and was required" in planned.out
    assert "warning: the tracking plan lists no event `Signed Up`\n    journeys/" in planned.out
    assert (await run("plan", "workspace", "--exit-code", *here)).status == 2
    row = json.loads((await run("plan", "workspace", "--json", *here)).out)
    assert len(row["warnings"]) == 1
    assert row["file_warnings"][0]["hint"] == "did you mean `Sign Up`?"
    (folder / "workspace/journeys/welcome.yaml").write_text("journey: x")
    assert (await run("plan", "workspace", "--exit-code", *here)).status == 1


async def test_what_the_api_refuses_is_told_as_if_it_were_done_here(
    server: str, run: Run, folder: Path
) -> None:
    here = ("--server", server, "--token", ADMIN)
    (folder / "workspace/journeys/welcome.yaml").write_text(JOURNEY.replace("1h", "1 fortnight"))
    broken = await run("apply", "workspace", *here)
    assert broken.status == 1
    first, _line, caret, *_ = broken.err.splitlines()
    assert first.startswith("journeys/welcome.yaml:3:16: `1 fortnight` is no duration")
    assert caret.strip() == "^^^^^^^^^^^"
    assert "error: the workspace has 1 problem" in broken.err
    (folder / "workspace/journeys/welcome.yaml").write_text(JOURNEY)
    stale = await run("apply", "workspace", "--base-revision", "7", *here)
    assert stale.status == 1
    assert "revision 0 is the newest, not 7" in stale.err
    odd = await run("apply", "workspace", "--in-flight", "stop", *here)
    assert odd.status != 0
    assert await run("plan", "workspace", *here) is not None


async def test_a_wrong_or_missing_token_is_told_with_a_way_out(server: str, run: Run) -> None:
    none = await run("pause", "welcome", "--server", server)
    assert (none.status, none.out) == (1, "")
    assert "DANGOL_ADMIN_TOKEN" in none.err
    wrong = await run("pause", "welcome", "--server", server, "--token", "x")
    assert "unknown or revoked" in wrong.err


async def test_the_token_of_a_local_data_folder_is_found_by_itself(
    server: str, run: Run, folder: Path
) -> None:
    (folder / ".dangol").mkdir()
    (folder / ".dangol/admin-token").write_text(ADMIN + "\n")
    done = await run("plan", "workspace", "--server", server)
    assert done.status == 0, done.err


async def test_a_named_server_that_is_away_or_something_else_is_told(run: Run) -> None:
    away = f"http://127.0.0.1:{silent_port()}"
    done = await run("plan", "workspace", "--server", away)
    assert done.status == 1
    assert f"error: no Dangol answers at {away}" in done.err
    for wrong in ("nonsense", "http://", "ftp://127.0.0.1"):
        done = await run("plan", "workspace", "--server", wrong)
        assert done.status == 1
        assert done.err.startswith("error: "), done.err


async def test_a_token_is_not_told_to_a_server_that_is_no_dangol(run: Run) -> None:
    heard = bytearray()

    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
        await writer.drain()
        writer.close()

    something = await asyncio.start_server(other, "127.0.0.1", 0)
    async with something:
        url = f"http://127.0.0.1:{something.sockets[0].getsockname()[1]}"
        done = await run("plan", "workspace", "--server", url, "--token", "secret")
    assert "is no Dangol" in done.err
    assert b"secret" not in heard


# On the database -----------------------------------------------------------------------------


@pytest.fixture
def database(dsn: str) -> dict[str, str]:
    """The environment of a command that works on the test's database, with no server around."""
    return {"DANGOL_DATABASE_URL": dsn}


async def test_without_a_server_the_database_is_worked_on_directly(
    database: dict[str, str], run: Run, pool: Pool
) -> None:
    applied = await run("apply", "workspace", **database)
    assert applied.status == 0, applied.err
    assert "Published as revision 1, in force from " in applied.out
    assert await pool.fetchval("SELECT applied_by FROM workspaces") == "command"
    archived = await run("archive", "welcome", **database)
    assert archived.out == "welcome is archived now; it was active.\n"
    missing = await run("resume", "welcom", **database)
    assert missing.status == 1
    assert "did you mean `welcome`?" in missing.err


@pytest.mark.parametrize("over", ["server", "database"])
async def test_customers_are_scored_on_demand(
    over: str, server: str, database: dict[str, str], folder: Path, run: Run, pool: Pool
) -> None:
    where = {"DANGOL_SERVER": server, "DANGOL_ADMIN_TOKEN": ADMIN} if over == "server" else database
    await run("apply", "workspace", **where)
    refused = await run("rfm", "score", **where)
    assert refused.status == 1
    assert "rfm: {event: Order Completed" in refused.err
    settings = folder / "workspace/dangol.yaml"
    settings.write_text(settings.read_text() + "rfm: {event: Order Completed}\n")
    await run("apply", "workspace", **where)
    await pool.execute("INSERT INTO customers (partition, id, state) VALUES (0, 'ann', '')")
    await pool.execute(
        "INSERT INTO history VALUES (0, 'ann', now() - interval '1 h', 'm', 'track',"
        " 'Order Completed', now() - interval '1 h', '{}')"
    )
    done = await run("rfm", "score", **where)
    assert done.out == "Scored. 1 customer changed.\n", done.err
    assert await pool.fetchval("SELECT count(*) FROM log_outbox") == 1


@pytest.mark.parametrize("over", ["server", "database"])
async def test_retention_is_a_table_with_its_open_cells_marked(
    over: str, server: str, database: dict[str, str], run: Run, pool: Pool
) -> None:
    where = {"DANGOL_SERVER": server, "DANGOL_ADMIN_TOKEN": ADMIN} if over == "server" else database
    await run("apply", "workspace", **where)
    refused = await run("retention", **where)
    assert refused.status == 1
    assert "which event counts" in refused.err
    for customer, days in (("ann", 1), ("ann", 0), ("ben", 1), ("cho", 0)):
        await pool.execute(
            "INSERT INTO history SELECT 0, $1, at, gen_random_uuid()::text, 'track', 'Bought', at,"
            " '{}' FROM (SELECT now() - $2::interval AS at) t",
            customer,
            timedelta(days=days),
        )
    asked = ("retention", "--event", "Bought", "--by", "day")
    shown = (await run(*asked, **where)).out.splitlines()
    rows = [line.split() for line in shown if line.startswith(("20", "day", "overall"))]
    assert rows[0] == ["day", "customers", "0", "1"]
    assert [row[1:] for row in rows[1:]] == [["2", "100.0%", "…"], ["1…", "…"], ["100.0%"]]
    korean = await run(*asked, "--lang", "ko", **where)
    assert "아직 끝나지 않은 기간" in korean.out
    answer = json.loads((await run(*asked, "--json", **where)).out)
    last = answer["cohorts"][0]["cells"][1]
    assert (last["customers"], last["share"], last["so_far"]) == (None, None, 1)
    assert (await run("retention", "--by", "year", **where)).status == 2


async def test_a_log_ahead_of_the_clock_is_where_a_revision_comes_into_force(
    database: dict[str, str], run: Run, pool: Pool
) -> None:
    await pool.execute("UPDATE log_heads SET last_at = '2199-01-01' WHERE partition = 0")
    await run("apply", "workspace", **database)
    active_from = await pool.fetchval("SELECT active_from FROM workspaces")
    assert active_from.year == 2199


async def test_a_key_is_printed_alone_so_that_a_script_can_take_it(
    database: dict[str, str], run: Run, pool: Pool
) -> None:
    made = await run("key", "create", "web", **database)
    key = made.out.strip()
    source = await KeyRing(pool).source_of(key)
    assert source is not None
    assert (source.name, source.role) == ("web", "write")
    assert source.id in made.err
    assert key not in made.err
    listed = await run("key", "list", "--json", **database)
    assert [json.loads(row)["id"] for row in listed.out.splitlines()] == [source.id]
    revoked = await run("key", "revoke", source.id, **database)
    assert "is revoked" in revoked.out
    assert await KeyRing(pool).source_of(key) is None
    wrong = await run("key", "create", "x", "--role", "king", **database)
    assert wrong.status == 1
    assert "there is write, viewer" in wrong.err


async def test_a_database_that_was_never_migrated_is_told_and_mended(
    database: dict[str, str], run: Run, pool: Pool
) -> None:
    await pool.execute("UPDATE alembic_version SET version_num = '0000'")
    done = await run("key", "list", **database)
    assert done.status == 1
    assert "run `dangol migrate`" in done.err
    await pool.execute("DROP TABLE alembic_version")
    doctor = await run("doctor", "--json", **database)
    assert doctor.status == 1
    verdicts = {row["check"]: row["verdict"] for row in map(json.loads, doctor.out.splitlines())}
    assert verdicts == {"settings": "ok", "database": "ok", "schema": "fail"}


async def test_the_doctor_looks_at_everything_and_says_what_to_mend(
    database: dict[str, str], run: Run, folder: Path
) -> None:
    (folder / "workspace/dangol.yaml").write_text(
        'channels:\n  email: {adapter: smtp, from: "a@shop.example"}\n  sms: {adapter: log}\n'
        "sources:\n  shop-platform: {signature: standard, event: {name: Order}, customer: id}\n"
    )
    await run("apply", "workspace", **database)
    first = await run("doctor", **database)
    assert first.status == 1
    assert "fail  source shop-platform" in first.out
    assert "DANGOL_WEBHOOK_SHOP_PLATFORM_SECRET is not set" in first.out
    assert "fail  channel email" in first.out
    assert "DANGOL_SMTP_URL is not set" in first.out
    assert "ok    channel sms" in first.out
    smtp = f"smtp://user:secret@127.0.0.1:{silent_port()}"
    environment = {**database, "DANGOL_SMTP_URL": smtp, "DANGOL_WRITE_KEY": "x"}
    environment["DANGOL_WEBHOOK_SHOP_PLATFORM_SECRET"] = (
        f"whsec_{base64.b64encode(b'k' * 32).decode()}"
    )
    second = await run("doctor", **environment)
    assert second.status == 1
    assert "cannot be used" in second.out
    assert "user:secret" not in second.out + second.err
    assert "ok    source shop-platform" in second.out
    assert "whsec_" not in second.out + second.err
    assert "DANGOL_WRITE_KEY is no setting" in second.out
    assert "is it DANGOL_WRITE_KEYS?" in second.out


async def test_without_a_server_and_a_database_it_is_said_what_to_do(
    run: Run, folder: Path
) -> None:
    for arguments in (("plan", "workspace"), ("key", "list")):
        done = await run(*arguments)
        assert done.status == 1
        assert "there is no database in .dangol" in done.err
        assert "start `dangol up`" in done.err
    assert not (folder / ".dangol").exists()
    doctor = await run("doctor")
    assert doctor.status == 0
    assert "warn  data folder" in doctor.out


@pytest.mark.slow
async def test_a_data_folder_is_made_by_migrate_and_then_worked_on(run: Run, folder: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        DANGOL, "migrate", cwd=folder, stdout=asyncio.subprocess.PIPE
    )
    made, _ = await process.communicate()
    assert process.returncode == 0
    assert b"it was empty" in made
    assert "up to date" in (await run("migrate")).out
    key = await run("key", "create", "web")
    assert len(key.out.strip()) == 25
    assert "revision 1" in (await run("apply", "workspace")).out
    doctor = await run("doctor")
    assert doctor.status == 0, doctor.out
    assert "ok    channel email adapter log" in doctor.out
