"""The SDKs that are tried, and what starts each: a page of docs/sdks, and a driver."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, get_args

from tests.patience import SOON

HERE = Path(__file__).parent
DRIVERS = HERE / "drivers"
PAGES = HERE.parents[1] / "docs" / "sdks"

_OLDEST_NODE = 20
_OLD_PYTHON = HERE / ".analytics-python" / "bin" / "python"


Runtime = Literal["python", "node", "browser"]
RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)
ALL_KINDS = frozenset({"track", "identify", "page", "screen", "group", "alias"})


@dataclass(frozen=True, slots=True)
class Sdk:
    name: str
    """Of its driver."""
    runtime: Runtime
    page: str | None = None
    """In docs/sdks, whose first program is run too."""
    kinds: frozenset[str] = ALL_KINDS
    """Of the calls that it has."""

    @property
    def missing(self) -> str | None:
        """What this machine lacks to run it."""
        if self.runtime == "python":
            return None if Path(self._python).exists() else "its environment is not installed"
        return missing_node() or (_missing_chromium() if self.runtime == "browser" else None)

    @property
    def _python(self) -> str:
        """The interpreter. The old SDK needs older libraries than the others can live with."""
        return str(_OLD_PYTHON) if self.name == "analytics-python" else sys.executable

    def drive(
        self, *, host: str, key: str, user: str, count: int, pause: int = 0, kinds: bool = False
    ) -> list[str]:
        """The command that sends `count` events of one customer, `pause` milliseconds apart.

        With `kinds`, it first makes one call of each kind.
        """
        given = {
            "host": host, "key": key, "user": user, "count": count, "pause": pause, "kinds": kinds
        }  # fmt: skip
        settings = json.dumps(given)
        if self.runtime == "python":
            return [self._python, str(DRIVERS / "run.py"), self.name, settings]
        if self.runtime == "node":
            return ["node", str(DRIVERS / "run.mjs"), self.name, settings]
        return ["node", str(DRIVERS / "browser.mjs"), f"./{self.name}.mjs", settings]

    def program(self, folder: Path, *, host: str, key: str, user: str) -> list[str]:
        """The command that runs the page's program, with its three placeholders filled in."""
        assert self.page is not None
        text = (PAGES / f"{self.page}.md").read_text()
        match = re.search(r"```(python|js)\n(.*?)```", text, re.DOTALL)
        assert match is not None, f"{self.page}.md has no program"
        language, code = match.groups()
        for placeholder, value in {
            "http://localhost:8420": host,
            "c0123456789abcdefghijklmn": key,
            '"u1"': f'"{user}"',
        }.items():
            assert placeholder in code, f"{self.page}.md: {placeholder} is missing"
            code = code.replace(placeholder, value)
        file = folder / ("program.py" if language == "python" else "program.mjs")
        if self.name == "dittofeed-browser":
            code = code.replace("@dittofeed/sdk-node", "@dittofeed/sdk-web")
        file.write_text(code)
        if language == "python":
            return [sys.executable, str(file)]
        if self.runtime == "browser":
            return ["node", str(DRIVERS / "browser.mjs"), str(file)]
        (folder / "node_modules").symlink_to(HERE / "node_modules")
        return ["node", str(file)]


SDKS = (
    Sdk("segment-python", "python", "segment-python"),
    Sdk("rudderstack-python", "python", "rudderstack-python"),
    Sdk("posthog-python", "python", "posthog-python"),
    Sdk("posthog-python-v1", "python"),
    Sdk("analytics-python", "python"),
    Sdk("segment-node", "node", "segment-node"),
    Sdk("segment-node-6", "node"),
    Sdk("rudderstack-node", "node", "rudderstack-node"),
    Sdk("dittofeed", "node", "dittofeed", ALL_KINDS - {"group", "alias"}),
    Sdk("jitsu", "node", "jitsu", ALL_KINDS - {"screen", "alias"}),
    Sdk("posthog-node", "node", "posthog-node"),
    Sdk("segment-browser", "browser", "segment-browser"),
    Sdk("rudderstack-browser", "browser", "rudderstack-browser", ALL_KINDS - {"screen"}),
    Sdk("dittofeed-browser", "browser", "dittofeed", ALL_KINDS - {"group", "alias"}),
    Sdk("jitsu-browser", "browser", "jitsu", ALL_KINDS - {"screen", "alias"}),
    Sdk("posthog-browser", "browser", "posthog-browser", ALL_KINDS - {"screen"}),
)

VARIANTS = (
    Sdk("posthog-node-v1", "node"),
    Sdk("segment-browser-batching", "browser"),
    Sdk("rudderstack-browser-batching", "browser", kinds=ALL_KINDS - {"screen"}),
    Sdk("rudderstack-browser-beacon", "browser", kinds=ALL_KINDS - {"screen"}),
)
"""Other ways in which they send, each tried once."""


class Program:
    """One run of a command; a browser's page stays open until `leave`."""

    def __init__(self, command: list[str], log: Path) -> None:
        self._command = command
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, "SDK_CHROMIUM": chromium() or ""},
            )

    @property
    def over(self) -> bool:
        return self._process is not None and self._process.returncode is not None

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    async def leave(self) -> int:
        """The exit status, after standard input has ended: for a page, its visitor leaves."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        async with asyncio.timeout(SOON):
            return await self._process.wait()

    async def end(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


@cache
def chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser")


@cache
def missing_node() -> str | None:
    if shutil.which("node") is None:
        return "Node.js is not installed (Debian: apt-get install nodejs npm)"
    version = subprocess.run(
        ["node", "--version"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if int(version.removeprefix("v").partition(".")[0]) < _OLDEST_NODE:
        return f"Node.js {_OLDEST_NODE} or newer is needed, and this is {version}"
    if not (HERE / "node_modules" / ".installed").exists():
        return "the SDKs are not installed: `npm ci` in tests/sdks (`make test` does it)"
    return None


@cache
def _missing_chromium() -> str | None:
    if chromium() is None:
        return "Chromium is not installed (Debian: apt-get install chromium)"
    return None
