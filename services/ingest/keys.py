"""Who may write: the key a request carries, and whose it is."""

import base64
import binascii
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Protocol
from urllib.parse import parse_qs

from shared.errors import Forbidden, Unauthorized
from shared.keys import ROLES, Source, reaches

_LONGEST = 1024
"""Bytes of an Authorization header worth reading, and remembering."""


_WRITERS = frozenset(role for role in ROLES if reaches(role, "write"))


class KeyRing(Protocol):
    """Asked on every request, so it remembers its answers for a moment: see `shared.keys`."""

    async def source_of(self, key: str) -> Source | None:
        """None for a key that is unknown or revoked. Raises Unavailable if nobody can tell."""

    def known(self, key: str) -> Source | None:
        """The source if it was asked about a moment ago; None says nothing. Never waits."""


class StaticKeys:
    """Keys that are valid from the start, for a process without a database."""

    def __init__(self, keys: Iterable[str], *, name: str = "environment") -> None:
        self._sources = dict.fromkeys(keys, Source(name, "write"))

    async def source_of(self, key: str) -> Source | None:
        return self._sources.get(key)

    def known(self, key: str) -> Source | None:
        return self._sources.get(key)


def known_writer(ring: KeyRing, keys: Iterable[str]) -> Source | None:
    """As `writer`, where it can be told at once; None says that `writer` is to be asked."""
    for key in keys:
        source = ring.known(key)
        if source is not None:
            return source if source.role in _WRITERS else None
    return None


def keys_of(headers: Mapping[bytes, bytes], query: bytes) -> tuple[str, ...]:
    """The key a request carries outside its body, in every reading of it; empty if there is none.

    The first place that has one decides: the user name of Basic, `X-Write-Key`, `?writeKey=`.
    An `Authorization` without a scheme is the key itself, as Dittofeed's SDKs send what they get.
    """
    authorization = headers.get(b"authorization", b"")
    if len(authorization) <= _LONGEST and (basic := _basic(authorization)):
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
        if not reaches(source.role, "write"):
            raise Forbidden("This key's role may not send events.")
        return source
    raise Unauthorized("The write key is missing, unknown or revoked.")


@lru_cache(1024)
def _basic(authorization: bytes) -> tuple[str, ...]:
    scheme, _, credentials = authorization.partition(b" ")
    if not credentials and scheme.lower() not in (b"basic", b"bearer"):
        return (scheme.decode("latin-1"),) if scheme else ()
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
