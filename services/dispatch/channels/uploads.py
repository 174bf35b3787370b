"""Pictures that are uploaded to a vendor before the message that carries them, each once.

What was uploaded is remembered by its content for as long as the adapter lives, and no longer than
vendors keep it. Nothing is sent by an upload, so a lost answer is no unknown.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from services.dispatch.channels.port import Outcome, Outgoing, Result
from shared.images import MOST_BYTES, Image, is_file, problem_of

KEPT = 24 * 3600.0
"""Seconds; vendors keep an upload for days."""
_MOST = 1000

Upload = Callable[[Image, Outgoing], Awaitable[str | Result]]
"""Returns the vendor's id of the picture, or what its answer without one means."""


class Uploads:
    def __init__(self, adapter: str, upload: Upload) -> None:
        self._most = MOST_BYTES[adapter]
        self._upload = upload
        self._known: dict[str, tuple[float, str]] = {}
        self._lock = asyncio.Lock()

    async def with_image(self, message: Outgoing) -> Outgoing | Result:
        """The message with the vendor's id in place of a file's name."""
        parts = message.content.parts
        if not is_file(parts.get("image", "")):
            return message
        image = sendable(message, self._most)
        if isinstance(image, Result):
            return image
        async with self._lock:  # twins of one campaign wait for the one upload
            known = await self._id_of(image, message)
        if isinstance(known, Result):
            return known
        content = replace(message.content, parts={**parts, "image": known})
        return replace(message, content=content)

    async def _id_of(self, image: Image, message: Outgoing) -> str | Result:
        now, digest = asyncio.get_running_loop().time(), image.digest
        known = self._known.get(digest)
        if known is not None and now - known[0] < KEPT:
            return known[1]
        made = await self._upload(image, message)
        if isinstance(made, Result):
            # Lost, or said to be taken and without an id.
            is_open = made.outcome in (Outcome.UNKNOWN, Outcome.ACCEPTED)
            return replace(made, outcome=Outcome.RETRYABLE) if is_open else made
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[digest] = (now, made)
        return made


def sendable(message: Outgoing, most: int) -> Image | Result:
    """The picture that the content's `image` names, or why nobody carries it."""
    name, image = message.content.parts.get("image", ""), message.image
    if image is None:
        return _refused(f"the workspace has no picture {name}")
    why = problem_of(image.content, most)
    return image if why is None else _refused(f"{name} cannot be sent: {why}")


def _refused(why: str) -> Result:
    return Result(Outcome.REJECTED_MESSAGE, detail=why)
