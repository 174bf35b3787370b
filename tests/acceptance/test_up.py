"""`dangol up` as a person meets it: it starts, tells what is wrong, and loses nothing."""

import asyncio
import json
import os
import socket
import sys
from pathlib import Path

import httpx
import pytest

from bench.smtp_sink import Sink
from tests.patience import SOON
from tests.processes import ADMIN_TOKEN, Dangol, free_port

SETTINGS = """
timezone: Asia/Seoul
policies: {consent: assumed}
channels:
  email: {adapter: %s, from: "Shop <shop@shop.example>"}
"""
WELCOME = """
journey: welcome
trigger: {event: Signed Up}
steps:
  - {send: email, template: hello, id: hi}
"""


def write_workspace(folder: Path, adapter: str = "log", journey: str = WELCOME) -> Path:
    for name, text in {
        "dangol.yaml": SETTINGS % adapter,
        "journeys/welcome.yaml": journey,
        "templates/hello/email.liquid": "---\nsubject: 가입 축하\n---\n<p>{{ profile.name }}</p>\n",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


SIGN_UP = (
    {"type": "identify", "messageId": "i1", "userId": "u1", "traits": {"email": "u1@shop.example"}},
    {"type": "track", "messageId": "t1", "userId": "u1", "event": "Signed Up"},
)


async def decided(
    dangol: Dangol, client: httpx.AsyncClient, count: int = 1
) -> list[dict[str, object]]:
    async with asyncio.timeout(SOON):
        while True:
            rows = [m for m in await dangol.messages(client) if m["decision"] is not None]
            if len(rows) >= count:
                return rows
            await asyncio.sleep(0.05)


async def fails(*arguments: str, **environment: str) -> str:
    """Run `dangol …`, expect exit status 1, return what it says; a traceback is a failure."""
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "dangol"), *arguments,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(SOON):
        output, _ = await process.communicate()
    said = output.decode()
    assert process.returncode == 1, said
    assert "Traceback" not in said
    return said


async def test_an_event_becomes_a_message_and_survives_a_restart(tmp_path: Path) -> None:
    dangol = Dangol(
        tmp_path / "data", write_workspace(tmp_path / "workspace"), for_the_first_time=True
    )
    async with httpx.AsyncClient(timeout=SOON) as client:
        await dangol.start()
        assert (await dangol.post(client, *SIGN_UP)).json() == {
            "success": True, "ok": True, "status": 1,
        }  # fmt: skip
        [row] = await decided(dangol, client)
        assert (row["customer"], row["journey"], row["step"], row["decision"]) == (
            "u1", "welcome", "hi", "sent",
        )  # fmt: skip
        assert await dangol.stop() == 0
        await dangol.start()
        assert await dangol.messages(client) == [row]
        assert (await dangol.post(client, *SIGN_UP)).status_code == 200, "an SDK's retry"
        await dangol.kill()
        await dangol.start()
        assert len(await dangol.messages(client)) == 1
        assert await dangol.stop() == 0


async def test_a_call_to_the_api_starts_a_journey_once(tmp_path: Path) -> None:
    folder = write_workspace(tmp_path / "workspace")
    named = WELCOME.replace("journey: welcome", "journey: named")
    (folder / "journeys/named.yaml").write_text(
        named.replace("{event: Signed Up}", "{api: true}").replace("id: hi", "id: named")
    )
    dangol = Dangol(tmp_path / "data", folder)
    await dangol.start()
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}", "Idempotency-Key": "winter"}
    async with httpx.AsyncClient(base_url=dangol.url, headers=headers, timeout=SOON) as client:
        await dangol.post(client, SIGN_UP[0])
        body = {"customers": [{"id": "u1", "properties": {"why": "sale"}}, {"id": "u2"}]}
        for _ in range(2):
            answer = await client.post("/api/journeys/named/enter", json=body)
            assert answer.status_code == 202
            assert answer.json() == {"call": "winter", "taken": 2}
        rows = await decided(dangol, client, 2)
        assert {(row["customer"], row["decision"], row["reason"]) for row in rows} == {
            ("u1", "sent", None), ("u2", "dropped", "no_address"),
        }  # fmt: skip
        assert len(rows) == 2
        assert (await client.post("/api/journeys/welcome/enter", json=body)).status_code == 409
        assert (await client.post("/api/journeys/nobody/enter", json=body)).status_code == 404
        nobody = await client.post("/api/journeys/named/enter", json={"customers": []})
        assert nobody.status_code in (400, 422)
        assert {"code", "message"} <= nobody.json().keys()
    assert await dangol.stop() == 0


async def test_a_real_mail_arrives(tmp_path: Path) -> None:
    async with Sink() as sink, httpx.AsyncClient(timeout=SOON) as client:
        dangol = Dangol(
            tmp_path / "data",
            write_workspace(tmp_path / "workspace", "smtp"),
            {"DANGOL_SMTP_URL": f"smtp://127.0.0.1:{sink.port}"},
        )
        await dangol.start()
        await dangol.post(client, *SIGN_UP)
        await sink.arrival("u1@shop.example", timeout=SOON)
        await decided(dangol, client)
        assert sink.mails == 1
        assert await dangol.stop() == 0


async def test_a_mail_server_that_is_down_loses_nothing(tmp_path: Path) -> None:
    port = free_port()
    async with httpx.AsyncClient(timeout=SOON) as client:
        dangol = Dangol(
            tmp_path / "data",
            write_workspace(tmp_path / "workspace", "smtp"),
            {"DANGOL_SMTP_URL": f"smtp://127.0.0.1:{port}"},
        )
        await dangol.start()
        await dangol.post(client, *SIGN_UP)
        async with asyncio.timeout(SOON):
            while not any(m["attempts"] for m in await dangol.messages(client)):
                await asyncio.sleep(0.05)
        async with Sink(port) as sink:
            await sink.arrival("u1@shop.example", timeout=SOON)
            [row] = await decided(dangol, client)
            assert row["decision"] == "sent"
            assert sink.mails == 1
        assert await dangol.stop() == 0


async def test_a_second_up_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    dangol = Dangol(tmp_path / "data")
    await dangol.start()
    said = await fails("up", "--data", str(tmp_path / "data"), "--port", str(free_port()))
    assert dangol.process is not None
    assert str(dangol.process.pid) in said
    assert "hint:" in said
    assert await dangol.stop() == 0


async def test_a_port_that_is_taken_is_told_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = await fails("up", "--data", str(tmp_path / "data"), "--port", str(port))
    assert f"port {port}" in said
    assert "--port" in said
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://nobody:secret-word@127.0.0.1:1/none",
        "postgresql://",
        "not a url",
        "mysql://x/y",
    ],
)
async def test_a_database_url_that_leads_nowhere(tmp_path: Path, url: str) -> None:
    said = await fails("up", "--port", str(free_port()), DANGOL_DATABASE_URL=url)
    assert "DANGOL_DATABASE_URL" in said
    assert "secret-word" not in said


async def test_a_broken_workspace_is_refused_with_every_problem(tmp_path: Path) -> None:
    broken = write_workspace(
        tmp_path / "w", journey=WELCOME.replace("email", "fax") + "\nstage: x\n"
    )
    said = await fails("up", "--data", str(tmp_path / "data"), "--port", str(free_port()),
                       "--workspace", str(broken))  # fmt: skip
    assert "journeys/welcome.yaml:5" in said
    assert "journeys/welcome.yaml:7" in said


async def test_settings_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    said = await fails("up", "--data", data, DANGOL_CONCURRENCY="many")
    assert "DANGOL_CONCURRENCY" in said
    assert "DANGOL_LOG_LEVEL" in await fails("up", "--data", data, DANGOL_LOG_LEVEL="loud")
    assert "DANGOL_LOG_URL" in await fails("up", "--data", data, DANGOL_LOG_URL="kafka://x")


async def test_a_file_where_the_data_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("mine")
    said = await fails("up", "--data", str(tmp_path / "data"), "--port", str(free_port()))
    assert "--data" in said
    assert (tmp_path / "data").read_text() == "mine"


async def test_health_metrics_and_api_answer(tmp_path: Path) -> None:
    dangol = Dangol(tmp_path / "data", write_workspace(tmp_path / "workspace"))
    await dangol.start()
    async with httpx.AsyncClient(base_url=dangol.url, timeout=SOON) as client:
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        assert "dangol_journey_events_total" in (await client.get("/metrics")).text
        assert (await client.get("/docs")).status_code == 200
        paths = (await client.get("/openapi.json")).json()["paths"]
        assert {"/api/messages", "/v1/batch", "/sourceConfig"} <= set(paths)
        assert (await client.get("/api/messages")).status_code == 401
        missing = await client.get("/nowhere")
        assert missing.status_code == 404
        assert {"code", "message"} <= missing.json().keys()
        garbage = await client.post(
            "/v1/batch", content=b"\x00\xff garbage", auth=("c" + "0" * 24, "")
        )
        assert garbage.status_code == 400
        assert {"code", "message"} <= garbage.json().keys()
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        nonsense = await client.put("/api/workspace", content=b"no zip", headers=headers)
        assert nonsense.status_code == 400
        assert {"code", "message"} <= nonsense.json().keys()
        [journey] = (await client.get("/api/journeys", headers=headers)).json()
        assert journey["id"] == "welcome"
    assert await dangol.stop() == 0
    log = dangol.log.read_text()
    for line in log.splitlines():
        if line.startswith("{"):
            assert json.loads(line)["level"] != "error", line
