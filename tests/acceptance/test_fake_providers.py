"""The walk-through of docs/channels.md, run as it stands there: Kakao, else a text."""

import asyncio
import json
import os
import re
import shutil
import sys
from pathlib import Path

from tests.patience import SOON
from tests.processes import free_port

ROOT = Path(__file__).parents[2]
_END = """
code=$?
kill %1 %2
wait
exit $code
"""


def walk_through(dangol: int, fakes: int) -> str:
    """The shell blocks, with free ports in the place of the usual ones."""
    page = (ROOT / "docs/channels.md").read_text(encoding="utf-8")
    section = page.split("## Try it without an account")[1].split("\n## ")[0]
    commands = "".join(re.findall(r"```sh\n(.*?)```", section, re.DOTALL))
    url = f"http://127.0.0.1:{dangol}"
    for usual, here in (
        ("dangol fake-providers &", f"dangol fake-providers --port {fakes} --dangol {url} &"),
        ("dangol fake-providers --env", f"dangol fake-providers --env --port {fakes}"),
        ("dangol up ", f"dangol up --port {dangol} "),
        # A reader waits a moment; a test, until what she waits for has come.
        ("sleep 5", "until curl -s http://127.0.0.1:8430/__sent | grep -q SMS; do sleep 0.1; done"),
    ):
        assert usual in commands
        commands = commands.replace(usual, here)
    commands = commands.replace("127.0.0.1:8420", f"127.0.0.1:{dangol}")
    return commands.replace("127.0.0.1:8430", f"127.0.0.1:{fakes}") + _END


async def test_who_has_no_kakao_gets_a_text_as_the_docs_say(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples/kakao", tmp_path / "examples/kakao")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = await asyncio.create_subprocess_exec(
        *("bash", "-m", "-c", walk_through(free_port(), free_port())),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
    )
    async with asyncio.timeout(SOON):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    taken, messages = _json_of(out.decode())
    kinds = [(each["kind"], each["to"]) for each in taken["solapi"]]
    assert sorted(kinds) == [
        *(("ATA", "01000000000"), ("ATA", "01000000019"), ("SMS", "01000000019"))
    ]
    (message,) = messages
    assert (message["decision"], message["channel"]) == ("sent", "sms")
    assert message["passed_over"] == [{"channel": "alimtalk", "reason": "rejected"}]


def _json_of(out: str) -> tuple[dict[str, list[dict[str, str]]], list[dict[str, object]]]:
    """What the last two commands printed, one behind the other."""
    decoder = json.JSONDecoder()
    start = out.index('{"solapi"')
    taken, end = decoder.raw_decode(out, start)
    messages, _ = decoder.raw_decode(out, end)
    return taken, messages
