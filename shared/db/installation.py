"""What an installation keeps for itself."""

from hashlib import blake2b
from secrets import token_hex

from shared.db.connect import Connection, Pool

_MAKE_KEY = """
INSERT INTO meta (key, value) VALUES ('address_key', to_jsonb($1::text)) ON CONFLICT DO NOTHING
"""
_PARTITIONS = "SELECT value::int FROM meta WHERE key = 'partitions'"
_KEY = "SELECT value #>> '{}' FROM meta WHERE key = 'address_key'"


async def partition_count(connection: "Connection | Pool") -> int:
    """How many partitions this installation has, for good."""
    count: int = await connection.fetchval(_PARTITIONS)
    return count


async def installation_key(connection: Connection) -> bytes:
    """The installation's own secret for hashes; made by whoever needs it first."""
    await connection.execute(_MAKE_KEY, token_hex(32))
    key: str = await connection.fetchval(_KEY)
    return bytes.fromhex(key)


async def installation_id(connection: Connection) -> str:
    """Names this installation outside its database; it tells nothing of the key."""
    key = await installation_key(connection)
    return blake2b(b"installation", digest_size=8, key=key).hexdigest()
