"""Reading what somebody sends without letting it grow beyond a bound."""

from collections.abc import AsyncIterable


async def bounded(chunks: AsyncIterable[bytes], most: int) -> bytes | None:
    """The whole of it; None if it has more than `most` bytes, of which no more is then read."""
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > most:
            return None
    return bytes(body)
