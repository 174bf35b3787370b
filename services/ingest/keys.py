"""Who may write: the key a request carries, and whose it is."""

import asyncio
import base64
import binascii
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol
from urllib.parse import parse_qs

from shared.errors import Forbidden, Unauthorized

WRITERS = frozenset({"write", "admin"})


@dataclass(frozen=True, slots=True)
class Source:
    """Whose key it is. `name` goes into every event; the key itself goes nowhere."""

    name: str
    role: str


class KeyRing(Protocol):
    async def source_of(self, key: str) -> Source | None:
        """None for a key that is unknown or revoked. Raises Unavailable if nobody can tell."""


class StaticKeys:
    """Keys that are valid from the start."""

    def __init__(self, keys: Iterable[str], *, name: str = "environment") -> None:
        self._sources = dict.fromkeys(keys, Source(name, "write"))

    async def source_of(self, key: str) -> Source | None:
        return self._sources.get(key)


class KeyRings:
    """Several rings as one: the first that knows a key decides."""

    def __init__(self, *rings: KeyRing) -> None:
        self._rings = rings

    async def source_of(self, key: str) -> Source | None:
        for ring in self._rings:
            source = await ring.source_of(key)
            if source is not None:
                return source
        return None


class CachedKeys:
    """Remembers answers for a moment, so that a burst asks once.

    A known key is remembered longer than an unknown one: a revocation may take half a minute, but
    the client of a key that was created just now must not lose a batch to our memory.
    """

    KNOWN_FOR = 30.0
    UNKNOWN_FOR = 1.0
    """Both in seconds."""
    MOST = 1024
    """Answers remembered; the oldest goes first."""
    WITHIN = 3.0
    """Seconds the ring has to answer."""

    def __init__(self, ring: KeyRing, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._ring = ring
        self._monotonic = monotonic
        self._known: dict[str, tuple[float, Source | None]] = {}
        self._asking: dict[str, asyncio.Task[Source | None]] = {}

    async def source_of(self, key: str) -> Source | None:
        entry = self._known.get(key)
        if entry is not None and entry[0] > self._monotonic():
            return entry[1]
        task = self._asking.get(key)
        if task is None:
            task = asyncio.create_task(self._ask(key), name="ingest-key")
            self._asking[key] = task
        return await asyncio.shield(task)  # one client that leaves does not end it for the others

    async def _ask(self, key: str) -> Source | None:
        try:
            async with asyncio.timeout(self.WITHIN):
                source = await self._ring.source_of(key)
            lifetime = self.UNKNOWN_FOR if source is None else self.KNOWN_FOR
            self._known.pop(key, None)
            if len(self._known) >= self.MOST:
                del self._known[next(iter(self._known))]
            self._known[key] = (self._monotonic() + lifetime, source)
            return source
        finally:
            del self._asking[key]


def keys_of(headers: Mapping[bytes, bytes], query: bytes) -> tuple[str, ...]:
    """The key a request carries outside its body, in every reading of it; empty if there is none.

    The first place that has one decides: the user name of Basic, `X-Write-Key`, `?writeKey=`.
    """
    basic = _basic(headers.get(b"authorization", b""))
    if basic:
        return basic
    header = headers.get(b"x-write-key", b"").decode("latin-1").strip()
    if header:
        return (header,)
    if query:
        values = parse_qs(query.decode("latin-1")).get("writeKey")
        if values and values[0]:
            return (values[0],)
    return ()


async def writer(ring: KeyRing, keys: Iterable[str]) -> Source:
    """The source that may write. Raises Unauthorized, Forbidden or Unavailable."""
    for key in keys:
        source = await ring.source_of(key)
        if source is None:
            continue
        if source.role not in WRITERS:
            raise Forbidden("This key's role may not send events.")
        return source
    raise Unauthorized("The write key is missing, unknown or revoked.")


@lru_cache(1024)
def _basic(authorization: bytes) -> tuple[str, ...]:
    scheme, _, credentials = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        return ()
    try:
        text = base64.b64decode(credentials.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ()
    user = text.partition(":")[0]
    if not user:
        return ()
    whole = text.removesuffix(":")  # a key may be of the form id:secret, and is then sent whole
    return (user,) if whole == user else (user, whole)
