"""Long work runs once, survives its worker, ends once, and can be stopped."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import OperationalError, connections
from django.utils import timezone

from secai_site.kernel.errors import Conflict
from secai_site.kernel.jobs import queue
from secai_site.kernel.jobs.models import Job, JobState, Schedule
from secai_site.kernel.jobs.worker import Cancelled, JobContext, Worker, run_job

pytestmark = pytest.mark.django_db(transaction=True)

ME = queue.worker_name()


@pytest.fixture(autouse=True)
def kinds(monkeypatch: pytest.MonkeyPatch) -> dict[str, queue.JobKind]:
    """The kinds of job of one test."""
    own: dict[str, queue.JobKind] = {}
    monkeypatch.setattr(queue, "KINDS", own)
    return own


def kind(name: str, handler: Callable[..., Any], every: int | None = None) -> None:
    """Register a handler."""
    queue.KINDS[name] = queue.JobKind(name, handler, None if every is None else lambda: every)


def run(found: Job | None, *, stopping: bool = False, cancelled: bool = False) -> Job:
    """Run a claimed job here and now."""
    assert found is not None
    event = threading.Event()
    if cancelled:
        event.set()
    run_job(ME, found, JobContext(found, event), stopping=lambda: stopping)
    found.refresh_from_db()
    return found


def test_a_job_runs_and_keeps_its_result() -> None:
    kind("sum", lambda _context, a, b: {"sum": a + b})
    asked = queue.enqueue("sum", a=1, b=2)
    done = run(queue.claim(ME))
    assert (done.pk, done.state, done.result, done.attempts) == (asked.pk, "succeeded", {"sum": 3}, 1)
    assert done.finished_at is not None
    assert queue.claim(ME) is None


def test_an_unknown_kind_is_not_taken() -> None:
    with pytest.raises(LookupError):
        queue.enqueue("unheard of")
    assert not Job.objects.exists()


def test_the_same_work_is_queued_once() -> None:
    kind("scan", lambda _context: None)
    assert queue.enqueue("scan", subject="a") == queue.enqueue("scan", subject="a")
    assert queue.enqueue("scan", subject="b") != queue.enqueue("scan", subject="a")
    queue.claim(ME)
    queue.enqueue("scan", subject="a")
    assert Job.objects.filter(subject="a").count() == 2


def test_each_job_is_claimed_by_one_worker() -> None:
    kind("work", lambda _context: None)
    for _ in range(20):
        queue.enqueue("work")

    def claim_all(name: str) -> list[Any]:
        claimed = []
        try:
            while Job.objects.filter(state="queued").exists():
                if found := queue.claim(name):
                    claimed.append(found.pk)
        finally:
            connections.close_all()
        return claimed

    with ThreadPoolExecutor(4) as pool:
        claims = [pk for one in pool.map(claim_all, "abcd") for pk in one]
    assert len(claims) == len(set(claims)) == 20
    assert set(Job.objects.values_list("attempts", flat=True)) == {1}


def test_a_lease_that_ran_out_frees_the_job() -> None:
    kind("work", lambda _context: None)
    queue.enqueue("work")
    first = queue.claim("first")
    assert queue.claim("second") is None
    Job.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    second = queue.claim("second")
    assert second is not None
    assert (second.leased_by, second.attempts) == ("second", 2)
    assert first is not None
    assert queue.finish("first", first, JobState.SUCCEEDED) is False
    assert queue.extend("first", [first.pk]) == set()
    assert Job.objects.get().state == "running"


def test_a_lease_is_kept_by_its_holder() -> None:
    kind("work", lambda _context: None)
    queue.enqueue("work")
    found = queue.claim(ME)
    assert found is not None
    Job.objects.update(lease_until=timezone.now())
    queue.extend(ME, [found.pk])
    assert queue.claim("second") is None


def test_a_queued_job_is_cancelled_at_once() -> None:
    kind("work", lambda _context: None)
    asked = queue.enqueue("work")
    assert queue.cancel(asked.pk)
    assert not queue.cancel(asked.pk)
    assert queue.claim(ME) is None
    assert Job.objects.get().state == "cancelled"


def test_a_running_job_is_asked_to_stop() -> None:
    kind("work", lambda context: context.check())
    asked = queue.enqueue("work")
    found = queue.claim(ME)
    assert queue.cancel(asked.pk)
    assert queue.extend(ME, [asked.pk]) == {asked.pk}
    assert run(found, cancelled=True).state == "cancelled"


def test_a_refusal_fails_the_job_with_its_words() -> None:
    def refuse(_context: JobContext) -> None:
        raise Conflict("It is taken.", code="thing.taken")

    kind("work", refuse)
    queue.enqueue("work")
    done = run(queue.claim(ME))
    assert (done.state, done.error, done.error_code) == ("failed", "It is taken.", "thing.taken")


def test_a_fault_fails_the_job_without_its_details(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_context: JobContext) -> None:
        raise RuntimeError("the password is x")

    kind("work", fail)
    queue.enqueue("work")
    done = run(queue.claim(ME))
    assert (done.state, done.error_code) == ("failed", "internal")
    assert "password" not in done.error
    assert "the password is x" in caplog.text


def test_a_locked_database_puts_the_job_back() -> None:
    def lock(_context: JobContext) -> None:
        raise OperationalError("database is locked")

    kind("work", lock)
    queue.enqueue("work")
    done = run(queue.claim(ME))
    assert (done.state, done.leased_by) == ("queued", "")
    assert done.run_after > timezone.now()


def test_a_job_that_always_takes_its_worker_along_is_given_up() -> None:
    runs = []
    kind("work", lambda _context: runs.append(1))
    queue.enqueue("work")
    for _ in range(queue.ATTEMPTS):
        queue.claim("dead")
        Job.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    done = run(queue.claim(ME))
    assert (done.state, done.error_code, runs) == ("failed", "job.given_up", [])


def test_a_job_of_a_later_version_fails_and_says_so() -> None:
    Job.objects.create(kind="from the future")
    assert run(queue.claim(ME)).error_code == "job.given_up"


def test_a_worker_that_stops_gives_its_jobs_back() -> None:
    def stop(context: JobContext) -> None:
        raise Cancelled

    kind("work", stop)
    queue.enqueue("work")
    assert run(queue.claim(ME), stopping=True).state == "queued"


def test_progress_is_kept_and_never_too_often() -> None:
    def tell(context: JobContext) -> None:
        for n in range(1000):
            context.progress(n / 1000, "Reading")

    kind("work", tell)
    queue.enqueue("work")
    done = run(queue.claim(ME))
    assert (done.stage, done.progress) == ("Reading", 1.0)


def test_recurring_work_is_queued_at_the_start_and_whenever_it_is_due() -> None:
    kind("clean", lambda _context: None, every=60)
    queue.enqueue_due()
    queue.enqueue_due()
    assert Job.objects.filter(kind="clean").count() == 1
    Schedule.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    queue.enqueue_due()
    assert Job.objects.filter(kind="clean").count() == 1
    run(queue.claim(ME))
    queue.enqueue_due()
    assert not Job.objects.filter(state="queued").exists()
    Schedule.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    queue.enqueue_due()
    assert Job.objects.filter(state="queued").count() == 1


def test_old_jobs_are_forgotten() -> None:
    kind("work", lambda _context: None)
    queue.enqueue("work")
    run(queue.claim(ME))
    queue.enqueue("work")
    queue.prune()
    assert Job.objects.count() == 2
    Job.objects.filter(state="succeeded").update(finished_at=timezone.now() - timedelta(days=8))
    queue.prune()
    assert [job.state for job in Job.objects.all()] == ["queued"]


# --- whole workers -----------------------------------------------------------------------------------


@pytest.fixture
def worker() -> Iterator[Worker]:
    """A worker that runs in threads of this process."""
    made = Worker()

    def work() -> None:
        made.run()
        connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    yield made
    made.stop()
    thread.join(15)
    assert not thread.is_alive()


def wait_for(condition: Callable[[], bool], seconds: float = 15) -> None:
    """Poll until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_a_worker_runs_what_is_asked_for(worker: Worker) -> None:
    kind("work", lambda _context, n: {"n": n})
    for n in range(5):
        queue.enqueue("work", n=n)
    wait_for(lambda: Job.objects.filter(state="succeeded").count() == 5)


def test_a_running_job_stops_soon_after_it_is_cancelled(worker: Worker) -> None:
    def endless(context: JobContext) -> None:
        while True:
            context.check()
            time.sleep(0.02)

    kind("work", endless)
    asked = queue.enqueue("work")
    wait_for(lambda: Job.objects.get().state == "running")
    queue.cancel(asked.pk)
    wait_for(lambda: Job.objects.get().state == "cancelled", seconds=3)


def test_a_result_that_cannot_be_kept_does_not_cost_a_thread(worker: Worker) -> None:
    kind("odd", lambda _context: {"no": object()})
    kind("work", lambda _context: None)
    for _ in range(3):
        queue.enqueue("odd")
    for _ in range(3):
        queue.enqueue("work")
    wait_for(lambda: Job.objects.filter(kind="work", state="succeeded").count() == 3)


CRASHING = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
os.environ["DJANGO_SETTINGS_MODULE"] = "secai_site.settings"
from django.conf import settings
settings.DATABASES["default"]["NAME"] = sys.argv[2]
import django
django.setup()
from secai_site.kernel.jobs import queue
from secai_site.kernel.jobs.worker import Worker
queue.KINDS.clear()
queue.job("work")(lambda context: time.sleep(600))
Worker().run()
"""


def test_a_job_whose_worker_is_killed_runs_again() -> None:
    kind("work", lambda _context: {"ran": "here"})
    queue.enqueue("work")
    database = str(settings.DATABASES["default"]["NAME"])
    crashing = subprocess.Popen([sys.executable, "-c", CRASHING, str(settings.BASE_DIR), database])
    try:
        wait_for(lambda: Job.objects.get().state == "running")
    finally:
        os.kill(crashing.pid, signal.SIGKILL)
        crashing.wait()
    assert Job.objects.get().leased_by.startswith(f"{crashing.pid}:")
    assert queue.claim(ME) is None
    assert queue.release_dead() == 1
    done = run(queue.claim(ME))
    assert (done.state, done.result, done.attempts) == ("succeeded", {"ran": "here"}, 2)


def test_a_living_workers_job_is_not_taken_away() -> None:
    kind("work", lambda _context: None)
    queue.enqueue("work")
    queue.claim(ME)
    assert queue.release_dead() == 0


def test_a_later_process_of_the_same_pid_is_another_one() -> None:
    kind("work", lambda _context: None)
    queue.enqueue("work")
    queue.claim(f"{os.getpid()}:1")
    assert queue.release_dead() == 1
    assert queue.process_started(2**22 + 1) is None
    assert Path("/proc/self/stat").exists()


# --- kinds of which only so many run at once ---------------------------------------------------------


def limited(name: str, at_once: int) -> None:
    """Register a kind of which `at_once` may run."""
    queue.KINDS[name] = queue.JobKind(name, lambda _context: None, None, at_once)


def test_a_kind_runs_as_often_at_once_as_it_may() -> None:
    limited("scan", 2)
    jobs = [queue.enqueue("scan", subject=str(n)) for n in range(3)]
    assert [found.pk for found in (queue.claim(ME), queue.claim(ME)) if found] == [jobs[0].pk, jobs[1].pk]
    assert queue.claim(ME) is None
    run(Job.objects.get(pk=jobs[0].pk))
    third = queue.claim(ME)
    assert third is not None
    assert third.pk == jobs[2].pk


def test_a_kind_that_is_full_holds_up_no_other() -> None:
    limited("scan", 1)
    kind("work", lambda _context: None)
    for n in range(10):
        queue.enqueue("scan", subject=str(n))
    asked = queue.enqueue("work")
    queue.claim(ME)
    found = queue.claim("another")
    assert found is not None
    assert found.pk == asked.pk


def test_a_limited_job_whose_worker_is_gone_is_taken_over_by_one() -> None:
    limited("scan", 1)
    orphan = queue.enqueue("scan", subject="a")
    queue.claim(ME)
    Job.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    older = queue.enqueue("scan", subject="b")
    Job.objects.filter(pk=older.pk).update(run_after=timezone.now() - timedelta(hours=1))
    taken = queue.claim("other")
    assert taken is not None
    assert taken.pk == older.pk
    assert queue.claim("other") is None
    run_job("other", taken, JobContext(taken, threading.Event()), stopping=lambda: False)
    again = queue.claim("other")
    assert again is not None
    assert again.pk == orphan.pk
