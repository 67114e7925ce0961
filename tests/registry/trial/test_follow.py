"""Work in a thread of its own: its result, its errors, its progress, its end."""

import asyncio
import threading

import pytest

from registry.quarantine.trial.follow import Tell, follow
from secai_site.kernel.jobs.worker import Cancelled


def test_it_gives_the_result_and_the_progress_in_the_callers_thread() -> None:
    told: list[tuple[float, int]] = []

    async def work(tell: Tell) -> str:
        tell(0.5)
        await asyncio.sleep(0.4)
        return "done"

    assert follow(work, lambda fraction: told.append((fraction, threading.get_ident()))) == "done"
    assert (0.5, threading.get_ident()) in told
    assert {thread for _fraction, thread in told} == {threading.get_ident()}


def test_an_error_of_the_work_is_raised() -> None:
    async def work(_tell: Tell) -> None:
        raise LookupError("no")

    with pytest.raises(LookupError):
        follow(work, lambda _fraction: None)


def test_a_cancelled_job_ends_the_work_and_its_clean_up_is_waited_for() -> None:
    ended = threading.Event()

    async def work(_tell: Tell) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.1)
            ended.set()

    def progress(_fraction: float) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        follow(work, progress)
    assert ended.is_set()
