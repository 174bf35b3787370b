"""Reading a body without letting it grow beyond its bounds, compressed or not."""

import asyncio
import itertools
import zlib
from types import TracebackType
from typing import Any

from starlette.types import Receive

from services.ingest.answers import TooSlow
from services.ingest.limits import Limits
from services.ingest.protocol import TooMuch
from shared.errors import BadInput, Unavailable

COMPRESSED = (b"\x1f\x8b", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
"""How gzip and zlib ("deflate") begin, and no JSON does: told by its content, a body is read right
whatever a proxy did to headers."""
_EITHER_WINDOW = 47
_MOST_MEMBERS = 16
"""Parts of one compressed body. SDKs send one; each costs a copy of what follows it."""


class ClientGone(Exception):
    """The client went away while it was sending."""


class Hands:
    """How many bytes of bodies are in hand at once, over all requests."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.held = 0

    def take(self, size: int) -> None:
        if self.held + size > self._most:
            raise Unavailable("Too much is being sent at once.")
        self.held += size

    def give_back(self, size: int) -> None:
        self.held -= size


class Load:
    """One request's share of the hands; leaving the block gives it back."""

    __slots__ = ("_hands", "_size")

    def __init__(self, hands: Hands) -> None:
        self._hands = hands
        self._size = 0

    def __enter__(self) -> "Load":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._hands.give_back(self._size)

    def add(self, size: int) -> None:
        self._hands.take(size)
        self._size += size


class Patience:
    """Cuts off whoever takes longer than so many seconds to send a body: one timer for them all.

    `asyncio.timeout` would arm and disarm one for each request, which costs a seventh of it.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._readers: dict[int, tuple[float, asyncio.Task[Any]]] = {}
        """The oldest first, so that the timer need look at the first alone."""
        self._cut_off: set[int] = set()
        self._places = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> int:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        place = next(self._places)
        self._readers[place] = (loop.time() + self._seconds, task)
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, self._look)
        return place

    def end(self, place: int) -> bool:
        """Whether it was cut off; its cancellation is then to be told as what it is."""
        self._readers.pop(place, None)
        if place in self._cut_off:
            self._cut_off.discard(place)
            return True
        return False

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        while self._readers:
            place, (until, task) = next(iter(self._readers.items()))
            if until > loop.time():
                self._timer = loop.call_at(until, self._look)
                return
            del self._readers[place]
            self._cut_off.add(place)
            task.cancel()


async def read_body(
    receive: Receive, announced: int, load: Load, patience: Patience, limits: Limits
) -> bytes:
    """The whole body, inflated. Raises TooMuch, TooSlow, BadInput, Unavailable or ClientGone."""
    place = patience.begin()
    try:
        if announced > limits.body:
            await _discard(receive, 0, limits)
            raise _too_much(limits)
        body = await _receive_all(receive, load, limits)
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if not patience.end(place) or task is None or task.uncancel():
            raise
        raise TooSlow from error
    except BaseException:
        patience.end(place)
        raise
    patience.end(place)
    return inflate(body, load, limits) if body.startswith(COMPRESSED) else body


async def _receive_all(receive: Receive, load: Load, limits: Limits) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limits.body:
            if message.get("more_body", False):
                await _discard(receive, size, limits)
            raise _too_much(limits)
        load.add(len(chunk))
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _discard(receive: Receive, size: int, limits: Limits) -> None:
    """Read what comes and drop it, up to twice what may come: an answer that is given while the
    client still sends is often lost on its way, and a client that hears nothing sends it again."""
    while size <= 2 * limits.body:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        size += len(message.get("body", b""))
        if not message.get("more_body", False):
            return


def inflate(body: bytes, load: Load, limits: Limits) -> bytes:
    """All compressed members, one after the other, and never more than a byte above the limit."""
    parts: list[bytes] = []
    size = 0
    while body.startswith(COMPRESSED):
        if len(parts) == _MOST_MEMBERS:
            raise BadInput("The compressed body has too many members.")
        member = zlib.decompressobj(_EITHER_WINDOW)
        try:
            part = member.decompress(body, limits.body - size + 1)
        except zlib.error as error:
            raise BadInput("The body is neither valid gzip nor valid deflate.") from error
        size += len(part)
        if size > limits.body:
            raise _too_much(limits)
        if not member.eof:
            raise BadInput("The compressed body ends too early.")
        load.add(len(part))
        parts.append(part)
        body = member.unused_data
    return b"".join(parts)


def _too_much(limits: Limits) -> TooMuch:
    return TooMuch(f"A body may have {limits.body} bytes.")
