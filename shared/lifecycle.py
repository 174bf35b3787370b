"""Running services: named tasks, one stop signal, the first failure stops the process cleanly.

Stop means: stop intake → finish with a limit → cancel → report.
"""

import asyncio
import contextlib
from collections.abc import Coroutine, Mapping
from typing import Any

import structlog

logger = structlog.get_logger()


async def pause(stopping: asyncio.Event, seconds: float) -> None:
    """Sleep, unless the process is stopping."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)


async def unless_stopping(stopping: asyncio.Event, waiting: Coroutine[Any, Any, None]) -> None:
    """Wait for `waiting`, but not a moment longer than until `stopping` is set."""
    tasks = {asyncio.ensure_future(waiting), asyncio.ensure_future(stopping.wait())}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
    for task in tasks:
        if task.done() and not task.cancelled():
            task.result()


async def run_all(
    services: Mapping[str, Coroutine[Any, Any, None]], stopping: asyncio.Event, *, limit: float = 10
) -> None:
    """Run named services until `stopping`; the first that fails stops them all and is raised.

    After `stopping`, each has `limit` seconds to finish before it is cancelled.
    """
    tasks = {asyncio.create_task(run, name=name) for name, run in services.items()}
    stop = asyncio.create_task(stopping.wait(), name="stopping")
    await asyncio.wait({*tasks, stop}, return_when=asyncio.FIRST_COMPLETED)
    stopping.set()
    stop.cancel()
    _done, late = await asyncio.wait(tasks, timeout=limit)
    for task in late:
        logger.warning(
            "the service did not stop in time", action="stop_late", service=task.get_name()
        )
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    failures = [r for r in results if isinstance(r, Exception)]
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise ExceptionGroup("several services failed", failures)
