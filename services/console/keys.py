"""Create, list and revoke keys. The key itself is told once, when it is made."""

import secrets
from dataclasses import dataclass
from datetime import datetime

from shared.db.connect import Connection, unavailable_when_lost
from shared.errors import BadInput, NotFound
from shared.keys import ROLES, Role, hash_of, new_key

LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class Key:
    id: str
    name: str
    role: Role
    created_at: datetime
    revoked_at: datetime | None = None


async def create_key(
    connection: Connection, name: str, role: str, now: datetime
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
    key = Key(f"key_{secrets.token_hex(6)}", name, known, now)
    secret = new_key(known)
    async with unavailable_when_lost():
        await connection.execute(
            "INSERT INTO keys (id, name, role, hash, created_at) VALUES ($1, $2, $3, $4, $5)",
            key.id,
            key.name,
            key.role,
            hash_of(secret),
            key.created_at,
        )
    return key, secret


async def list_keys(connection: Connection) -> list[Key]:
    """Oldest first, revoked ones included."""
    async with unavailable_when_lost():
        rows = await connection.fetch(
            "SELECT id, name, role, created_at, revoked_at FROM keys ORDER BY created_at, id"
        )
    return [Key(*row) for row in rows]


async def revoke_key(connection: Connection, key_id: str, now: datetime) -> Key:
    """From within seconds the key opens nothing. Harmless if it is revoked already.

    Raises NotFound, Unavailable.
    """
    async with unavailable_when_lost():
        row = await connection.fetchrow(
            "UPDATE keys SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1"
            " RETURNING id, name, role, created_at, revoked_at",
            key_id,
            now,
        )
    if row is None:
        raise NotFound(f"there is no key `{key_id}`", hint="`dangol key list` shows the ids")
    return Key(*row)
