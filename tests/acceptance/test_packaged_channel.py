"""A package that adds a channel of its own: everything knows it, and a message arrives by it."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.patience import SOON
from tests.processes import Dangol

KIND = """
from shared.channels import Channel

PIGEON = Channel(
    "pigeon", "loft", ("log", "pigeon_post"), required_parts=("ring",), treated_as="sms",
    title="carrier pigeon", title_ko="전서구",
)
NO_CHANNEL = "albatross"
"""
ADAPTER = """
from pathlib import Path

from services.dispatch.channels.port import Outcome, Result
from shared.errors import ConfigurationError


class Pigeons:
    name = "pigeon_post"
    deduplicates = True

    def __init__(self, lofts, breed):
        self._lofts, self._breed = Path(lofts), breed

    async def send(self, message):
        text = f"{self._breed} {message.content.parts['ring']}: {message.content.body}"
        (self._lofts / f"{message.address}.txt").write_text(text)
        return Result(Outcome.DELIVERED, provider_id="ring 7")

    async def close(self):
        pass


def create(setup):
    if "DANGOL_PIGEON_POST_LOFTS" not in setup.environment:
        raise ConfigurationError("DANGOL_PIGEON_POST_LOFTS is not set")
    return Pigeons(
        setup.environment["DANGOL_PIGEON_POST_LOFTS"], setup.settings.options.get("breed", "grey")
    )
"""
POINTS = """
[dangol.channel_kinds]
pigeon = pigeon_post.kind:PIGEON
albatross = pigeon_post.kind:NO_CHANNEL
ostrich = pigeon_post.kind:NOT_THERE
email = pigeon_post.kind:PIGEON

[dangol.channels]
pigeon_post = pigeon_post.adapter:create
"""
WORKSPACE = {
    "dangol.yaml": """
timezone: Asia/Seoul
channels:
  email: {adapter: log}
  pigeon: {adapter: pigeon_post, breed: white, rate: 100/s}
policies:
  consent: assumed
  frequency_caps: [{channels: [pigeon], limit: 1, per: 24h}]
""",
    "journeys/hello.yaml": """
journey: hello
category: marketing
trigger: {event: Signed Up}
entry: {key: event.n, reentry: always}
steps:
  - send: pigeon
    template: hello
""",
    "templates/hello/pigeon.liquid": "---\nring: A{{ trigger.n }}\n---\nCoo, {{ profile.name }}\n",
}
EVENTS = [
    {"type": "identify", "userId": "ann", "traits": {"name": "Ann", "loft": "east-3"}},
    {"type": "track", "userId": "ann", "event": "Signed Up", "properties": {"n": 1}},
    {"type": "track", "userId": "ann", "event": "Signed Up", "properties": {"n": 2}},
    {"type": "track", "userId": "bob", "event": "Signed Up", "properties": {"n": 3}},
]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """As an installer leaves it: modules, and the metadata that names its entry points."""
    site = tmp_path / "site"
    modules, metadata = site / "pigeon_post", site / "pigeon_post-1.0.dist-info"
    modules.mkdir(parents=True)
    metadata.mkdir()
    (modules / "__init__.py").touch()
    (modules / "kind.py").write_text(KIND)
    (modules / "adapter.py").write_text(ADAPTER)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: pigeon-post\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(POINTS)
    return site


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    for name, text in WORKSPACE.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


async def dangol(*arguments: str, package: Path | None) -> tuple[int, str]:
    path = [str(package)] if package else []
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "dangol"), *arguments,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*path, *sys.path])},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(SOON):
        said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def test_the_tools_know_a_packages_channel(
    package: Path, workspace: Path, tmp_path: Path
) -> None:
    events = tmp_path / "events.jsonl"
    stamped = [e | {"timestamp": f"2026-04-06T03:0{n}:00Z"} for n, e in enumerate(EVENTS)]
    events.write_text("".join(json.dumps(event) + "\n" for event in stamped))
    sample = tmp_path / "sample.yaml"
    sample.write_text("profile: {name: Ann}\ntrigger: {n: 7}\n")
    broken = tmp_path / "broken"
    (broken / "journeys").mkdir(parents=True)
    (broken / "dangol.yaml").write_text(
        "channels:\n  pigeon: {adapter: pigeon_pots}\n  albatross: {adapter: log}\n"
    )
    valid, without, schema, simulated, previewed, wrong, pack = await asyncio.gather(
        dangol("validate", str(workspace), package=package),
        dangol("validate", str(workspace), package=None),
        dangol("schema", "settings", package=package),
        dangol("simulate", str(workspace), "--events", str(events), "--json", package=package),
        dangol("preview", "hello", "--workspace", str(workspace), "--channel", "pigeon",
               "--sample", str(sample), package=package),
        dangol("validate", str(broken), package=package),
        dangol("validate", str(korean(workspace, tmp_path)), package=package),
    )  # fmt: skip
    assert valid[0] == 0, valid[1]
    assert without[0] == 1
    assert "there is no channel called `pigeon`" in without[1]
    pigeon = json.loads(schema[1])["properties"]["channels"]["properties"]["pigeon"]
    assert "pigeon_post" in pigeon["allOf"][1]["properties"]["adapter"]["enum"]
    assert simulated[0] == 0, simulated[1]
    lines = [json.loads(line) for line in simulated[1].splitlines() if line.startswith("{")]
    assert [(x["customer"], x["channel"], x["decision"], x["reason"]) for x in lines] == [
        ("ann", "pigeon", "sent", None),
        ("ann", "pigeon", "dropped", "frequency_cap"),
        ("bob", "pigeon", "dropped", "no_address"),
    ]
    assert "ring: A7" in previewed[1]
    assert "Coo, Ann" in previewed[1]
    assert "did you mean `pigeon_post`?" in wrong[1]
    assert "it is no `shared.channels.Channel` but of type str" in wrong[1]
    assert pack[0] == 1
    assert "an advertising text begins with `(광고)`" in pack[1], "as for a text message"


def korean(workspace: Path, tmp_path: Path) -> Path:
    """The same workspace under the rules for Korea."""
    folder = tmp_path / "korean"
    for name in WORKSPACE:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        text = (workspace / name).read_text()
        file.write_text(text.replace("consent: assumed", "packs: [kr-marketing]"))
    return folder


@pytest.fixture
async def up(package: Path, workspace: Path, tmp_path: Path) -> AsyncIterator[Dangol]:
    (tmp_path / "lofts").mkdir()
    made = Dangol(
        tmp_path / "data",
        workspace,
        {
            "PYTHONPATH": os.pathsep.join([str(package), *sys.path]),
            "DANGOL_PIGEON_POST_LOFTS": str(tmp_path / "lofts"),
        },
    )
    await made.start()
    yield made
    await made.stop()


async def test_a_message_arrives_by_a_packages_channel(up: Dangol, tmp_path: Path) -> None:
    async with httpx.AsyncClient() as client:
        stamped = [event | {"messageId": f"e{n}"} for n, event in enumerate(EVENTS)]
        assert (await up.post(client, *stamped)).status_code == 200
        async with asyncio.timeout(SOON):
            while len(found := await up.messages(client)) < 3 or any(
                message["decision"] is None for message in found
            ):
                await asyncio.sleep(0.05)
    said = sorted((str(m["customer"]), str(m["decision"]), str(m["reason"])) for m in found)
    assert said == [
        ("ann", "dropped", "frequency_cap"),
        ("ann", "sent", "None"),
        ("bob", "dropped", "no_address"),
    ]
    (letter,) = (tmp_path / "lofts").iterdir()
    # Both of hers became decidable at the same instant.
    assert re.fullmatch(r"white A[12]: Coo, Ann\n", letter.read_text())
    assert letter.name == "east-3.txt"
