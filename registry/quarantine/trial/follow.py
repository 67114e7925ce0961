"""Runs asynchronous work in a thread of its own, so that a stage tells its progress, and stops, from its own."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, Final, TypeVar

STEP_S: Final = 0.25

T = TypeVar("T")
Tell = Callable[[float], None]


def follow(work: Callable[[Tell], Coroutine[Any, Any, T]], progress: Tell) -> T:
    """What `work` gives. It tells how far it is (0…1); `progress` is called with that four times a second.

    What `progress` raises (a cancelled job) cancels the work, is waited for, and is raised.
    """
    told = 0.0
    stop = threading.Event()

    def tell(fraction: float) -> None:
        nonlocal told
        told = fraction

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="trial") as pool:
        future = pool.submit(lambda: asyncio.run(_unless_stopped(work(tell), stop)))
        try:
            while not future.done():
                wait([future], timeout=STEP_S)
                progress(told)
        except BaseException:
            stop.set()
            raise
    return future.result()


async def _unless_stopped(work: Coroutine[Any, Any, T], stop: threading.Event) -> T:
    task = asyncio.ensure_future(work)
    while not task.done():
        if stop.is_set():
            task.cancel()
        await asyncio.wait([task], timeout=STEP_S)
    return task.result()
