"""Running services: named tasks, one stop signal, the first failure stops the process cleanly.

Stop means: stop intake → finish with a limit → cancel → report.
"""

import asyncio
import contextlib


async def pause(stopping: asyncio.Event, seconds: float) -> None:
    """Sleep, unless the process is stopping."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)
