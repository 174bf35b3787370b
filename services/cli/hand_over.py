"""One listening socket through a restart: the next process takes it from the one that runs.

A connection that waits in a listening socket is lost when the socket is closed by the last process
that has it, and a second socket on the same port (SO_REUSEPORT) has a queue of its own, so that
closing the first one resets what waits in it. So the socket itself goes on: the running process
offers it at a Unix socket that only its own user can reach; the next one asks for it, gets it with
SCM_RIGHTS, and tells when it is ready. From then on the first takes no new connections, tells each
client with its next answer to open another, and ends.
"""

import asyncio
import contextlib
import os
import socket
import stat
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

logger = structlog.get_logger()

_READY = b"ready"
_PATIENCE = 5.0
"""Seconds that the other process has to answer."""


@dataclass(slots=True)
class Predecessor:
    """The process whose socket was taken; it goes on until it is told that we are ready."""

    _talk: socket.socket

    def relieve(self) -> None:
        """We are ready: it takes no new connections from now on, and ends."""
        with contextlib.suppress(OSError):  # it has ended already
            self._talk.sendall(_READY)
        self._talk.close()


@dataclass(slots=True)
class Offer:
    taken: bool = False
    """Whether a successor has the socket and is ready: what is open may end in peace."""


def take_over(port: int) -> tuple[socket.socket, Predecessor] | None:
    """The listening socket of the process that has the port; None if none offers it."""
    talk = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    talk.settimeout(_PATIENCE)
    try:
        talk.connect(str(_place(port)))
        _word, fds, _flags, _address = socket.recv_fds(talk, 16, 1)
    except OSError:
        fds = []
    if not fds:
        talk.close()
        return None
    sock = socket.socket(fileno=fds[0])
    sock.setblocking(False)
    return sock, Predecessor(talk)


@asynccontextmanager
async def offering(sock: socket.socket, stopping: asyncio.Event) -> AsyncIterator[Offer]:
    """Offer the socket to a successor; once that is ready, `stopping` is set."""
    offer = Offer()
    try:
        place = _place(sock.getsockname()[1])
        server = _open(place)
    except OSError as error:
        logger.warning(
            "the listening socket cannot be handed over", action="no_hand_over", error=str(error)
        )
        yield offer
        return
    task = asyncio.create_task(_serve(server, sock, offer, stopping), name="hand-over")
    try:
        yield offer
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        server.close()
        if not offer.taken:  # else it is the successor's by now
            place.unlink(missing_ok=True)


async def _serve(
    server: socket.socket, sock: socket.socket, offer: Offer, stopping: asyncio.Event
) -> None:
    loop = asyncio.get_running_loop()
    while True:
        talk, _address = await loop.sock_accept(server)
        with contextlib.closing(talk):
            talk.setblocking(False)
            try:
                socket.send_fds(talk, [b"socket"], [sock.fileno()])
                word = await loop.sock_recv(talk, 16)
            except OSError:
                continue
            if word == _READY:
                offer.taken = True
                stopping.set()
                return


def _place(port: int) -> Path:
    """In a folder that only this user can enter: whoever has the socket receives the events."""
    folder = Path(tempfile.gettempdir()) / f"dangol-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} is not this user's alone")
    return folder / f"{port}.socket"


def _open(place: Path) -> socket.socket:
    """Bound beside and moved over: at no moment is there nothing, or somebody else's to be cut."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    beside = place.with_suffix(f".{os.getpid()}")
    try:
        beside.unlink(missing_ok=True)
        server.bind(str(beside))
        server.listen(8)
        server.setblocking(False)
        beside.rename(place)
    except OSError:
        server.close()
        raise
    return server
