"""A network link of our own between a service and a server: it can be cut, frozen and mended."""

import asyncio
import re
from pathlib import Path
from typing import Self, cast

Address = tuple[str, int] | Path
"""Host and port, or a socket in the file system."""


class _End(asyncio.Protocol):
    """One end of a connection; what it hears goes out at the other."""

    def __init__(self, link: "Link", other: "_End | None" = None) -> None:
        self._link = link
        self.other = other
        self.transport: asyncio.Transport | None = None
        self._early = b""
        """What came before the other end was there."""
        self.answers_nobody = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._link.ends.add(self)
        if self.other is None:
            self._link.join(self)

    def joined(self, other: "_End") -> None:
        self.other = other
        if other.transport is not None and self._early:
            other.transport.write(self._early)
        self._early = b""

    def data_received(self, data: bytes) -> None:
        if self.answers_nobody:  # the server has done it, and says so to a line that is dead
            self._link.lost += 1
            self._hang_up()
            return
        if self.other is not None and self._link.loses(data):
            self.other.answers_nobody = True
        if self.other is None:
            self._early += data
        elif self.other.transport is not None:
            self.other.transport.write(data)

    def _hang_up(self) -> None:
        for end in (self, self.other):
            if end is not None and end.transport is not None:
                end.transport.abort()

    def connection_lost(self, _error: Exception | None) -> None:
        self._link.ends.discard(self)
        self.transport = None
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()

    def pause_writing(self) -> None:
        self._read(wanted=False)

    def resume_writing(self) -> None:
        if not self._link.frozen:
            self._read(wanted=True)

    def _read(self, *, wanted: bool) -> None:
        """Whether the other end may say more."""
        if self.other is not None and self.other.transport is not None:
            self.other.listen(wanted=wanted)

    def listen(self, *, wanted: bool) -> None:
        if self.transport is not None and not self.transport.is_closing():
            (self.transport.resume_reading if wanted else self.transport.pause_reading)()


class Link:
    """`async with Link(target) as link`: `link.port` on loopback leads there."""

    def __init__(self, target: Address) -> None:
        self.target = target
        self.port = 0
        self.ends: set[_End] = set()
        self.frozen = False
        self._is_cut = False
        self._losing: re.Pattern[bytes] | None = None
        self.lost = 0
        """Answers that a client was cut off from."""
        self._joining: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _End(self), "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._server.close()
        self._reset()
        for task in self._joining:
            task.cancel()
        await asyncio.gather(*self._joining, return_exceptions=True)

    def cut(self) -> None:
        """Every connection is reset, and each new one."""
        self._is_cut = True
        self._reset()

    def lose_answer(self, to: str) -> None:
        """Cut the next connection that asks for this (a pattern), once the server has done it and
        before its answer arrives: nobody can tell that from a question that never arrived."""
        self._losing = re.compile(to.encode(), re.DOTALL)

    def loses(self, data: bytes) -> bool:
        if self._losing is None or not self._losing.search(data):
            return False
        self._losing = None
        return True

    def freeze(self) -> None:
        """Nothing passes, in either direction, and nobody is told: a pulled plug."""
        self.frozen = True
        for end in self.ends:
            end.listen(wanted=False)

    def mend(self) -> None:
        """What was frozen flows on; what was cut is to be opened again."""
        self.frozen = self._is_cut = False
        for end in self.ends:
            end.listen(wanted=True)

    def join(self, end: _End) -> None:
        task = asyncio.create_task(self._join(end), name="link")
        self._joining.add(task)
        task.add_done_callback(self._joining.discard)

    async def _join(self, end: _End) -> None:
        """Lead a new connection to the server; one that leads nowhere ends."""
        while self.frozen:
            await asyncio.sleep(0.05)
        loop = asyncio.get_running_loop()
        try:
            if self._is_cut:
                raise ConnectionRefusedError
            if isinstance(self.target, Path):
                _, made = await loop.create_unix_connection(
                    lambda: _End(self, end), str(self.target)
                )
            else:
                _, made = await loop.create_connection(lambda: _End(self, end), *self.target)
        except OSError:
            if end.transport is not None:
                end.transport.abort()
            return
        end.joined(made)
        if end.transport is None and made.transport is not None:
            made.transport.close()

    def _reset(self) -> None:
        for end in list(self.ends):
            if end.transport is not None:
                end.transport.abort()
