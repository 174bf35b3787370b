"""Real processes for tests, `dangol up` and the services alone: start, await, kill, stop."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.databases import lay_out
from tests.patience import SOON

WRITE_KEY = "c" + "0" * 24
ADMIN_TOKEN = "for-tests-only"


_AS_SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Pass a socket on as systemd does: as descriptor 3, named for the very process that takes it."""


_chance = random.SystemRandom()
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 4
_given: set[int] = set()


def free_port() -> int:
    """Nobody's, and given once: a service may leave it for a while and come back to it.

    It lies below those that systems give by themselves, and each of pytest's workers has its own.
    """
    while True:
        port = _chance.randrange(12_000 + 5_000 * _WORKER, 17_000 + 5_000 * _WORKER)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port


async def _is_ready(process: asyncio.subprocess.Process | None, url: str, log: Path) -> None:
    """Raises AssertionError with the process's own words if it ends before."""
    assert process is not None
    async with httpx.AsyncClient(timeout=SOON) as client, asyncio.timeout(SOON):
        while True:
            assert process.returncode is None, log.read_text()  # noqa: ASYNC240 - it has ended
            try:
                if (await client.get(f"{url}/readyz")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.02)


@dataclass
class Dangol:
    """`dangol up` on a data folder; may be killed and started again on the same folder and port."""

    data: Path
    workspace: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    process: asyncio.subprocess.Process | None = None
    for_the_first_time: bool = False
    """On nothing at all; else a folder that is not there yet is laid out, to save the time."""
    passed: socket.socket | None = None
    """A listening socket that is passed to it, and goes on listening while it is not there."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Raises AssertionError with the process's own words if it does not become ready."""
        await self.spawn()
        await self.ready()

    async def spawn(self) -> None:
        command = ["up", "--data", str(self.data), "--port", str(self.port), *self.arguments]
        if self.workspace is not None:
            command += ["--workspace", str(self.workspace)]
        environment = {
            **os.environ,
            "DANGOL_WRITE_KEYS": WRITE_KEY,
            "DANGOL_ADMIN_TOKEN": ADMIN_TOKEN,
            **self.environment,
        }
        self.data.parent.mkdir(parents=True, exist_ok=True)
        is_its_own = "DANGOL_DATABASE_URL" not in self.environment
        if is_its_own and not self.for_the_first_time and not self.data.exists():
            await asyncio.to_thread(lay_out, self.data)
        with self.log.open("ab") as log:
            program = [str(Path(sys.executable).parent / "dangol"), *command]
            passed = [self.passed.fileno()] if self.passed else []
            if self.passed:
                program = [sys.executable, "-c", _AS_SYSTEMD, str(passed[0]), *program]
            self.process = await asyncio.create_subprocess_exec(
                *program, env=environment, stdout=log, stderr=log, pass_fds=passed
            )

    @property
    def log(self) -> Path:
        return self.data.parent / f"{self.data.name}.log"

    async def ready(self) -> None:
        await _is_ready(self.process, self.url, self.log)

    async def kill(self) -> None:
        """`kill -9`, as a power cut to this process alone."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(SOON):
                await self.process.wait()
        assert self.process.returncode is not None
        return self.process.returncode

    async def post(
        self, client: httpx.AsyncClient, *events: Mapping[str, object]
    ) -> httpx.Response:
        return await client.post(
            f"{self.url}/v1/batch", json={"batch": list(events)}, auth=(WRITE_KEY, "")
        )

    async def messages(self, client: httpx.AsyncClient, **filters: str) -> list[dict[str, object]]:
        answer = await client.get(
            f"{self.url}/api/messages",
            params={"limit": "500", **filters},
            headers={"Authorization": f"Bearer {ADMIN_TOKEN}"},
        )
        assert answer.status_code == 200, answer.text
        found: list[dict[str, object]] = answer.json()
        return found


class Service:
    """One `dangol <part>` process."""

    def __init__(self, part: str, environment: Mapping[str, str], log: Path) -> None:
        self.part, self.port, self.log = part, free_port(), log
        self._environment = environment
        self.process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                str(Path(sys.executable).parent / "dangol"), self.part, "--port", str(self.port),
                env={**os.environ, **self._environment,
                     "DANGOL_WRITE_KEYS": WRITE_KEY, "DANGOL_ADMIN_TOKEN": ADMIN_TOKEN,
                     "PYTHONUNBUFFERED": "1"},
                stdout=log, stderr=log,
            )  # fmt: skip

    async def ready(self) -> None:
        await _is_ready(self.process, self.url, self.log)

    async def end(self, *, kill: bool = False) -> int:
        assert self.process is not None
        if self.process.returncode is None:
            (self.process.kill if kill else self.process.terminate)()
        async with asyncio.timeout(SOON):
            return await self.process.wait()
