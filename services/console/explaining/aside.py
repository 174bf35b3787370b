"""Replays take a core for up to seconds: a few at a time, in threads of their own."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

_THREADS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="explaining")


async def aside(work: Callable[[], T]) -> T:
    """What `work` returns; it waits while as many are under way as may be."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, work)
