"""Whom a customer's id belongs to, for those who hold an id from before it was linked."""

from shared.db.connect import Connection
from shared.event import partition_of

_OWNER = "SELECT forwarded_to FROM customers WHERE partition = $1 AND id = $2"
_LONGEST_CHAIN = 64


async def owner_of(connection: Connection, customer: str, partitions: int) -> str:
    """The customer it belongs to in the end: mostly itself."""
    for _ in range(_LONGEST_CHAIN):
        found: str | None = await connection.fetchval(
            _OWNER, partition_of(customer, partitions), customer
        )
        if found is None:
            break
        customer = found
    return customer
