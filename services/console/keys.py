"""Create, list and revoke keys. The key itself is told once, when it is made."""

import secrets
from dataclasses import dataclass
from datetime import datetime

from shared.db.connect import Connection, unavailable_when_lost
from shared.errors import BadInput, NotFound
from shared.keys import CHANNEL, ROLES, KeyKind, Role, hash_of, new_key
from shared.workspace import parse_rate

LONGEST_NAME = 100
_TELL = "SELECT pg_notify($1, '')"


@dataclass(frozen=True, slots=True)
class Key:
    id: str
    name: str
    role: Role
    created_at: datetime
    revoked_at: datetime | None = None
    kind: KeyKind = "secret"
    rate: float | None = None
    """Events a second."""
    daily: int | None = None
    """Events a day (UTC)."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a write key may do at most."""

    kind: KeyKind = "secret"
    rate: str | None = None
    """As in `100/s`."""
    daily: int | None = None


_NO_BOUNDS = Bounds()
_LIST = """
SELECT id, name, role, created_at, revoked_at, kind, rate, daily FROM keys ORDER BY created_at, id
"""
_REVOKE = """
UPDATE keys SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1
RETURNING id, name, role, created_at, revoked_at, kind, rate, daily
"""


async def create_key(
    connection: Connection, name: str, role: str, now: datetime, bounds: Bounds = _NO_BOUNDS
) -> tuple[Key, str]:
    """The key's record and the key itself. Raises BadInput, Unavailable."""
    name = name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise BadInput(
            f"a key's name has 1 to {LONGEST_NAME} printable characters",
            hint="name what uses it, such as `web` or `shop-backend`",
        )
    known = next((r for r in ROLES if r == role), None)
    if known is None:
        raise BadInput(f"`{role}` is no role", hint="there is " + ", ".join(ROLES))
    if known != "write" and bounds != _NO_BOUNDS:
        raise BadInput(
            f"a `{known}` token has no kind and no limits",
            hint="they are for keys of the role `write`",
        )
    key = Key(
        f"key_{secrets.token_hex(6)}",
        name,
        known,
        now,
        kind=bounds.kind,
        rate=_rate(bounds.rate),
        daily=_daily(bounds.daily),
    )
    secret = new_key(known)
    async with unavailable_when_lost():
        await connection.execute(
            "INSERT INTO keys (id, name, role, hash, created_at, kind, rate, daily)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            key.id,
            key.name,
            key.role,
            hash_of(secret),
            key.created_at,
            key.kind,
            key.rate,
            key.daily,
        )
        await connection.execute(_TELL, CHANNEL)
    return key, secret


def _rate(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return parse_rate(text)
    except ValueError as error:
        raise BadInput(str(error)) from error


def _daily(events: int | None) -> int | None:
    if events is not None and not 0 < events < 2**63:
        raise BadInput("a key's events a day are a whole number above 0")
    return events


async def list_keys(connection: Connection) -> list[Key]:
    """Oldest first, revoked ones included."""
    async with unavailable_when_lost():
        rows = await connection.fetch(_LIST)
    return [Key(*row) for row in rows]


async def revoke_key(connection: Connection, key_id: str, now: datetime) -> Key:
    """At once, in every process, the key opens nothing. Harmless if it is revoked already.

    Raises NotFound, Unavailable.
    """
    async with unavailable_when_lost():
        row = await connection.fetchrow(
            _REVOKE,
            key_id,
            now,
        )
        await connection.execute(_TELL, CHANNEL)
    if row is None:
        raise NotFound(f"there is no key `{key_id}`", hint="`dangol key list` shows the ids")
    return Key(*row)
