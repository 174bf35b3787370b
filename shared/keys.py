"""Keys and tokens: how they look, how far they reach, and whose a given one is.

A write key is either a `browser` key, which anybody can read in a page's source and which may post
events and nothing else, or a `secret` one for servers.

A write key goes into SDKs and web pages, so it has the one form that works unchanged in all of
them; the other roles' tokens begin with `dgl_`, which secret scanners can look for. Both are long
and random, so that a plain SHA-256 of them is safe to keep, and nothing else of them is kept.
"""

import asyncio
import hmac
import math
import secrets
import string
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, get_args

from shared.errors import Forbidden, Unavailable
from shared.lifecycle import unless_stopping

if TYPE_CHECKING:
    from shared.db.connect import Pool

Role = Literal["write", "viewer", "marketer", "operator", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
"""From the least to the most: each may do what those before it may, `write` apart."""

_LETTERS = string.ascii_lowercase + string.digits
_LONGEST = 256
"""Characters of a key that are worth hashing; `id:secret` keys of other houses are shorter."""

_FIND = """
SELECT id, name, role, kind, rate, daily FROM keys WHERE hash = $1 AND revoked_at IS NULL
"""
CHANNEL = "dangol_keys"
"""The wake-up (`shared/db/wakeups.py`) that tells of new and revoked keys."""

KeyKind = Literal["browser", "secret"]


@dataclass(frozen=True, slots=True)
class Source:
    """Whose key it is. `name` goes into every event; the key itself goes nowhere."""

    name: str
    role: Role
    id: str = ""
    """Empty for a key from the environment."""
    kind: KeyKind = "secret"
    rate: float | None = None
    """Events a second; None for no limit."""
    daily: int | None = None
    """Events a day (UTC); None for no limit."""

    @property
    def limited(self) -> bool:
        return self.rate is not None or self.daily is not None


def reaches(role: Role, needed: Role) -> bool:
    """Whether the role may do what `needed` may. A write key writes events, and nothing else."""
    if role == "write" or needed == "write":
        return role == needed or role == "admin"
    return ROLES.index(role) >= ROLES.index(needed)


def need_secret(source: Source) -> None:
    """For what a key that anybody can read must not do. Raises Forbidden."""
    if source.kind != "secret":
        raise Forbidden(
            "This is a browser key: it may post events, and nothing else.",
            hint="`dangol key create NAME` makes a secret one, for servers",
        )


def new_key(role: Role) -> str:
    """A fresh random key; a write key is `c` and 24 of [a-z0-9], others `dgl_` and 40 of them."""
    head, length = ("c", 24) if role == "write" else ("dgl_", 40)
    return head + "".join(secrets.choice(_LETTERS) for _ in range(length))


def hash_of(key: str) -> str:
    return sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


class KeyRing:
    """Answers for the table `keys` and the keys of the environment.

    Answers are remembered for `REMEMBERED` seconds, and forgotten at once when the table tells of a
    change (`watch`): a revocation is seen everywhere within a second even if that news is lost.
    While the database is away, a key that was good when last asked about stays good for `AWAY_FOR`:
    with the log elsewhere, ingest then goes on.
    """

    REMEMBERED = 1.0
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
        self._fresh: dict[str, tuple[float, Source]] = {}
        """Key → until when it need not be asked about again, and whose it is."""
        self._asking: dict[str, asyncio.Task[Source | None]] = {}
        self._changes = 0

    def known(self, key: str) -> Source | None:
        """Whose key it is if that was asked a moment ago; None says nothing. Never waits."""
        fresh = self._fresh.get(key)
        return fresh[1] if fresh is not None and self._monotonic() < fresh[0] else None

    async def source_of(self, key: str) -> Source | None:
        """None for a key that is unknown or revoked. Raises Unavailable if nobody can tell."""
        if not key or len(key) > _LONGEST:
            return None
        if (known := self.known(key)) is not None:
            return known
        digest = hash_of(key)
        for given, source in self._given:
            if hmac.compare_digest(given, digest):
                self._keep_fresh(key, source, math.inf)
                return source
        found = await self._answer(digest)
        if found is not None and digest in self._answers:
            self._keep_fresh(key, found, self._answers[digest][0] + self.REMEMBERED)
        return found

    def forget(self) -> None:
        """The table has changed: ask again about every key."""
        self._changes += 1
        self._answers.clear()
        self._asking.clear()
        self._fresh = {k: kept for k, kept in self._fresh.items() if kept[0] == math.inf}

    async def watch(self, news: asyncio.Event, stopping: asyncio.Event) -> None:
        """Forget whenever `news` is set, until `stopping`."""
        while not stopping.is_set():
            await unless_stopping(stopping, _until(news))
            news.clear()
            self.forget()

    async def _answer(self, digest: str) -> Source | None:
        answer = self._answers.get(digest)
        age = self._monotonic() - answer[0] if answer is not None else math.inf
        if answer is not None and age < self.REMEMBERED:
            return answer[1]
        asking = self._asking.get(digest)
        if asking is None:  # however many requests wait for it, the table is asked once
            asking = asyncio.create_task(self._ask(digest), name="key")
            asking.add_done_callback(_heard)  # whoever waited for it may have gone
            self._asking[digest] = asking
        try:
            return await asyncio.shield(asking)
        except Unavailable:
            if answer is not None and answer[1] is not None and age < self.AWAY_FOR:
                return answer[1]
            raise

    async def _ask(self, digest: str) -> Source | None:
        changes = self._changes
        try:
            source = await self._find(digest)
        finally:
            if changes == self._changes:
                self._asking.pop(digest, None)
        if changes == self._changes:  # else it may be from before the change: ask the next time
            self._remember(digest, source)
        return source

    async def _find(self, digest: str) -> Source | None:
        # Here, so that commands which only name roles start without the database's libraries.
        from shared.db.connect import unavailable_when_lost

        async with unavailable_when_lost(), self._pool.acquire(timeout=10) as connection:
            row = await connection.fetchrow(_FIND, digest)
        if row is None:
            return None
        return Source(row["name"], row["role"], row["id"], row["kind"], row["rate"], row["daily"])

    def _remember(self, digest: str, source: Source | None) -> None:
        self._answers.pop(digest, None)
        _make_room(self._answers, self.MOST)
        self._answers[digest] = (self._monotonic(), source)

    def _keep_fresh(self, key: str, source: Source, until: float) -> None:
        self._fresh.pop(key, None)
        _make_room(self._fresh, self.MOST)
        self._fresh[key] = (until, source)


def _make_room(kept: dict[str, Any], most: int) -> None:
    if len(kept) >= most:
        del kept[next(iter(kept))]


def _heard(asked: "asyncio.Task[Source | None]") -> None:
    if not asked.cancelled():
        asked.exception()


async def _until(news: asyncio.Event) -> None:
    await news.wait()
