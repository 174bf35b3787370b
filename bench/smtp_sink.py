"""A bare SMTP sink: accepts everything, remembers when each recipient's mail was complete.

It exists because a sink must be faster than what it measures: `python -m bench.smtp_sink` measures
the sink itself with a bare client. Run in a process of its own it prints nothing and answers
`COUNT` (a command of its own) with the number of mails so far.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Self, cast

Arrived = Callable[[str, float, bytes], None]


class Session(asyncio.Protocol):
    def __init__(self, arrived: Arrived, count: Callable[[], int]) -> None:
        self._arrived = arrived
        self._count = count
        self._buffer = b""
        self._data = False
        self._recipient = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not isinstance: uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(b"220 sink\r\n")

    def close(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            if self._data:
                content, found, rest = self._buffer.partition(b"\r\n.\r\n")
                if not found:
                    return
                self._buffer, self._data = rest, False
                self._arrived(self._recipient, time.perf_counter(), content)
                self._transport.write(b"250 kept\r\n")
                continue
            line, found, rest = self._buffer.partition(b"\r\n")
            if not found:
                return
            self._buffer = rest
            self._command(line)

    def _command(self, line: bytes) -> None:
        word = line[:4].upper()
        if word == b"EHLO":
            self._transport.write(b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n")
        elif word == b"RCPT":
            self._recipient = line.partition(b"<")[2].partition(b">")[0].decode()
            self._transport.write(b"250 ok\r\n")
        elif word == b"DATA":
            self._data = True
            self._transport.write(b"354 go on\r\n")
        elif word == b"COUN":
            self._transport.write(f"250 {self._count()}\r\n".encode())
        elif word == b"QUIT":
            self._transport.write(b"221 bye\r\n")
            self._transport.close()
        else:
            self._transport.write(b"250 ok\r\n")


class Sink:
    """`async with Sink() as sink`: `sink.port`, `sink.arrivals` by recipient (perf_counter)."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.arrivals: dict[str, float] = {}
        self.mails = 0
        self._waiting: dict[str, asyncio.Event] = {}
        self._sessions: list[Session] = []

    def _session(self) -> Session:
        session = Session(self._took, lambda: self.mails)
        self._sessions.append(session)
        return session

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._session, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._server.close()
        for session in self._sessions:
            session.close()
        await asyncio.sleep(0)  # lets the transports close their sockets

    def _took(self, recipient: str, at: float, _content: bytes) -> None:
        self.mails += 1
        self.arrivals[recipient] = at
        waiting = self._waiting.get(recipient)
        if waiting is not None:
            waiting.set()

    async def arrival(self, recipient: str, timeout: float = 30) -> float:
        event = self._waiting.setdefault(recipient, asyncio.Event())
        if recipient not in self.arrivals:
            await asyncio.wait_for(event.wait(), timeout)
        return self.arrivals[recipient]


async def _bare_client(port: int, mails: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readline()
    body = b"Subject: x\r\n\r\n" + b"y" * 3000 + b"\r\n.\r\n"
    for number in range(mails):
        writer.write(b"MAIL FROM:<a@x>\r\nRCPT TO:<%d@x>\r\nDATA\r\n" % number)
        for _ in range(3):
            await reader.readline()
        writer.write(body)
        await reader.readline()
    writer.close()


async def measure(mails: int = 20_000, connections: int = 8) -> float:
    """Mails a second that the sink takes from a bare client in the same process (one core)."""
    async with Sink() as sink:
        started = time.perf_counter()
        await asyncio.gather(
            *(_bare_client(sink.port, mails // connections) for _ in range(connections))
        )
        return sink.mails / (time.perf_counter() - started)


async def _serve() -> None:
    async with Sink() as sink:
        print(sink.port, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve())
    else:
        print(f"{asyncio.run(measure()):,.0f} mails/s, client and sink on one core")
