"""The socket and the stop of the HTTP server, over real sockets."""

import asyncio
import os
import socket
import subprocess
import sys

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from services.cli.web import listen, serve
from tests.patience import SOON

_TAKE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
from services.cli.web import listen
from shared.errors import ConfigurationError
try:
    sock = listen("127.0.0.1", 0)
except ConfigurationError as error:
    print(error)
else:
    print(sock.getsockname()[1], os.environ.get("LISTEN_FDS"), sock.get_inheritable())
"""


def take(sock: socket.socket, count: str = "1") -> str:
    """What a process says that was started with the socket as systemd would start it."""
    done = subprocess.run(
        [sys.executable, "-c", _TAKE, str(sock.fileno())],
        env={**os.environ, "LISTEN_FDS": count},
        pass_fds=[sock.fileno()],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_a_passed_socket_is_taken_and_not_passed_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        assert take(sock) == f"{sock.getsockname()[1]} None False"


def test_what_is_passed_must_be_one_listening_tcp_socket() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        assert "LISTEN_FDS is 2" in take(sock, "2")
    with socket.socket() as sock:
        assert "does not listen" in take(sock)


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


async def test_a_client_is_told_before_its_connection_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("LISTEN_PID", raising=False)
    sock = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    stopping = asyncio.Event()
    serving = asyncio.create_task(serve(hello, sock, stopping))
    async with httpx.AsyncClient(base_url=url, timeout=SOON) as client:
        assert "connection" not in (await client.get("/")).headers
        stopping.set()
        await asyncio.sleep(0)
        async with asyncio.timeout(SOON):
            while (await client.get("/")).headers.get("connection") != "close":
                pass
    await serving
