"""Serving HTTP inside a process that does more: our socket, our signals, our stop."""

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from services.cli.guard import GuardedProtocol, Header, Reply, Shortcut, watch_heads
from shared.errors import ConfigurationError

_BACKLOG = 1024
KEEP_ALIVE = 75
"""Seconds: SDKs keep connections for a minute; uvicorn's own 5 s would cut them off."""


_FIRST_PASSED = 3
"""The descriptor at which systemd's socket activation begins to pass sockets."""
_DRAIN = 1.0
"""Seconds in which open connections learn that they end; SDKs that wait longer are idle."""
_DRAIN_HANDED_OVER = 3.0


class HeldSocket(socket.socket):
    """A listening socket that somebody else holds too: it listens on when we have closed it."""


def listen(host: str, port: int) -> socket.socket:
    """Bind before anything else is started, so that a port that is taken is told at once.

    A socket that a supervisor passes (systemd's socket activation) is taken instead: it goes on
    listening while we restart, so that no client is ever refused. Raises ConfigurationError.
    """
    passed = _passed()
    if passed is not None:
        return passed
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        sock.close()
        code = getattr(error, "errno", None)
        if code == errno.EADDRINUSE:
            raise ConfigurationError(
                f"port {port} on {host} is taken",
                hint="stop what listens there, or choose another port with --port",
            ) from error
        raise ConfigurationError(
            f"cannot listen on {host}, port {port}: {getattr(error, 'strerror', None) or error}",
            hint="check --host and --port; ports below 1024 need special rights",
        ) from error
    sock.setblocking(False)
    return sock


def _passed() -> socket.socket | None:
    """The socket that a supervisor holds, by sd_listen_fds(3); None if there is none."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    count = os.environ.pop("LISTEN_FDS", "")
    del os.environ["LISTEN_PID"]  # not for our children
    hint = "pass exactly one listening TCP socket, such as `ListenStream=8420`"
    if count != "1":
        raise ConfigurationError(f"LISTEN_FDS is {count or 'missing'}, and not 1", hint=hint)
    try:
        sock = HeldSocket(fileno=_FIRST_PASSED)
    except OSError as error:
        raise ConfigurationError("the passed descriptor is no socket", hint=hint) from error
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or not sock.getsockopt(
        socket.SOL_SOCKET, socket.SO_ACCEPTCONN
    ):
        raise ConfigurationError("the passed socket does not listen on a TCP port", hint=hint)
    sock.set_inheritable(False)
    sock.setblocking(False)
    return sock


def behind_proxies(app: ASGIApp) -> ASGIApp:
    """The app, told by `X-Forwarded-*` of a trusted proxy who called it and by which scheme.

    Not around all there is: on the paths that take events it would cost a twentieth of a request,
    and there the address alone is asked for, and only if the workspace keeps it.
    """
    trusted = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1")
    return ProxyHeadersMiddleware(app, trusted)  # type: ignore[arg-type, return-value]


class _Farewell:
    """Once told to, says with each answer that its connection ends.

    A connection that is closed under a client's hands costs the request that it is just sending;
    a client that was told opens another one, and the SDKs that send nothing twice lose nothing.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.said = False

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if not self.said:
            return self._app(scope, receive, send)

        async def send_last(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        return self._app(scope, receive, send_last)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the composition root's."""
        yield


async def serve(
    app: ASGIApp,
    sock: socket.socket,
    stopping: asyncio.Event,
    handed_over: Callable[[], bool] = lambda: False,
    at_once: Shortcut | None = None,
) -> None:
    """Serve until `stopping`, then see the connections off within a limit.

    `at_once` answers what it likes of what would be the app's to answer.

    If a successor has the socket by then, new connections are its from the first moment on, and
    ours have a little longer.
    """
    farewell = _Farewell(app)

    class Protocol(GuardedProtocol):
        @staticmethod
        def shortcut(target: bytes, headers: Sequence[Header], body: bytes, reply: Reply) -> bool:
            return (
                at_once is not None and not farewell.said and at_once(target, headers, body, reply)
            )

    config = uvicorn.Config(
        farewell,
        interface="asgi3",
        proxy_headers=False,  # see `behind_proxies`
        http=Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=5,
        server_header=False,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[sock]), name="uvicorn")
    heads = asyncio.create_task(watch_heads(server.server_state), name="heads")
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    farewell.said = True
    if isinstance(sock, HeldSocket):
        for listening in server.servers:
            listening.close()  # who connects now waits for our successor
    drain = _DRAIN
    if handed_over():
        drain = _DRAIN_HANDED_OVER
        for listening in server.servers:
            listening.close()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + drain
    while server.server_state.connections and loop.time() < deadline:  # noqa: ASYNC110 - no event
        await asyncio.sleep(0.02)
    server.should_exit = True
    await task
    heads.cancel()
