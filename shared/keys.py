"""Keys and tokens: how they look, how far they reach, and whose a given one is.

A write key goes into SDKs and web pages, so it has the one form that works unchanged in all of
them; the other roles' tokens begin with `dgl_`, which secret scanners can look for. Both are long
and random, so that a plain SHA-256 of them is safe to keep, and nothing else of them is kept.
"""

import hmac
import secrets
import string
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Literal, get_args

from shared.errors import Unavailable

if TYPE_CHECKING:
    from shared.db.connect import Pool

Role = Literal["write", "viewer", "marketer", "operator", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
"""From the least to the most: each may do what those before it may, `write` apart."""

_LETTERS = string.ascii_lowercase + string.digits
_LONGEST = 256
"""Characters of a key that are worth hashing; `id:secret` keys of other houses are shorter."""

_FIND = "SELECT id, name, role FROM keys WHERE hash = $1 AND revoked_at IS NULL"


@dataclass(frozen=True, slots=True)
class Source:
    """Whose key it is. `name` goes into every event; the key itself goes nowhere."""

    name: str
    role: Role
    id: str = ""
    """Empty for a key from the environment."""


def reaches(role: Role, needed: Role) -> bool:
    """Whether the role may do what `needed` may. A write key writes events, and nothing else."""
    if role == "write" or needed == "write":
        return role == needed or role == "admin"
    return ROLES.index(role) >= ROLES.index(needed)


def new_key(role: Role) -> str:
    """A fresh random key; a write key is `c` and 24 of [a-z0-9], others `dgl_` and 40 of them."""
    head, length = ("c", 24) if role == "write" else ("dgl_", 40)
    return head + "".join(secrets.choice(_LETTERS) for _ in range(length))


def hash_of(key: str) -> str:
    return sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


class KeyRing:
    """Answers for the table `keys` and the keys of the environment.

    Answers are remembered: a known key for `KNOWN_FOR`, within which a revocation is seen, an
    unknown one only for a moment, since a client whose key was created just now must not lose
    events to our memory. While the database is away, a key that was good when last asked about
    stays good for `AWAY_FOR`: with the log elsewhere, ingest then goes on.
    """

    KNOWN_FOR = 5.0
    UNKNOWN_FOR = 1.0
    AWAY_FOR = 300.0
    MOST = 1024

    def __init__(
        self,
        pool: "Pool",
        *,
        write_keys: Iterable[str] = (),
        admin_token: str | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._monotonic = monotonic
        self._given = [(hash_of(key), Source("environment", "write")) for key in write_keys if key]
        if admin_token:
            self._given.append((hash_of(admin_token), Source("environment", "admin")))
        self._answers: dict[str, tuple[float, Source | None]] = {}
        """Hash → when it was answered, and what; the oldest first."""

    async def source_of(self, key: str) -> Source | None:
        """None for a key that is unknown or revoked. Raises Unavailable if nobody can tell."""
        if not key or len(key) > _LONGEST:
            return None
        digest = hash_of(key)
        for known, source in self._given:
            if hmac.compare_digest(known, digest):
                return source
        answer = self._answers.get(digest)
        age = self._monotonic() - answer[0] if answer is not None else 0.0
        if answer is not None and age < (self.KNOWN_FOR if answer[1] else self.UNKNOWN_FOR):
            return answer[1]
        try:
            source_found = await self._find(digest)
        except Unavailable:
            if answer is not None and answer[1] is not None and age < self.AWAY_FOR:
                return answer[1]
            raise
        self._remember(digest, source_found)
        return source_found

    async def _find(self, digest: str) -> Source | None:
        # Here, so that commands which only name roles start without the database's libraries.
        from shared.db.connect import unavailable_when_lost

        async with unavailable_when_lost(), self._pool.acquire(timeout=10) as connection:
            row = await connection.fetchrow(_FIND, digest)
        return None if row is None else Source(row["name"], row["role"], row["id"])

    def _remember(self, digest: str, source: Source | None) -> None:
        self._answers.pop(digest, None)
        if len(self._answers) >= self.MOST:
            del self._answers[next(iter(self._answers))]
        self._answers[digest] = (self._monotonic(), source)
