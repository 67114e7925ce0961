"""The job worker: a few threads that claim and run, one that keeps leases and notices cancellations."""

import logging
import threading
import time
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import OperationalError, close_old_connections, connection

from secai_site.kernel.errors import ServiceError
from secai_site.kernel.jobs import queue
from secai_site.kernel.jobs.models import Job, JobState

log = logging.getLogger(__name__)

IDLE_S = 0.3
HEARTBEAT_S = 1.0
PROGRESS_STEP_S = 0.25


class Cancelled(Exception):
    """Somebody asked for this job to stop."""


class JobContext:
    """What a handler gets: its job, a way to tell how far it is, and whether to stop."""

    def __init__(self, found: Job, cancelled: threading.Event) -> None:
        self.job = found
        self._cancelled = cancelled
        self._told_at = 0.0

    def check(self) -> None:
        """Raise `Cancelled` when the job should stop."""
        if self._cancelled.is_set():
            raise Cancelled

    def progress(self, fraction: float | None, stage: str) -> None:
        """Tell how far the job is (0…1) and what it does; cheap to call often. Raises `Cancelled`."""
        self.check()
        now = time.monotonic()
        if now - self._told_at >= PROGRESS_STEP_S or stage != self.job.stage:
            self._told_at, self.job.stage = now, stage
            Job.objects.filter(pk=self.job.pk).update(progress=fraction, stage=stage[:200])


class Worker:
    """Runs jobs until `stop`."""

    def __init__(self, threads: int = 6) -> None:
        self.name = queue.worker_name()
        self.stopping = threading.Event()
        self._running: dict[UUID, threading.Event] = {}
        self._threads = [
            threading.Thread(target=self._loop, name=f"jobs-{n}", daemon=True) for n in range(threads)
        ]

    def run(self) -> None:
        """Work until `stop` is called from a signal handler."""
        queue.release_dead()
        for thread in self._threads:
            thread.start()
        last_schedule = 0.0
        while not self.stopping.wait(HEARTBEAT_S):
            try:
                self._heartbeat()
                if time.monotonic() - last_schedule > 5:
                    last_schedule = time.monotonic()
                    queue.enqueue_due()
                    queue.prune()
            except OperationalError as error:
                log.warning("the database is not answering: %s", error)
            close_old_connections()
        for cancelled in list(self._running.values()):
            cancelled.set()
        for thread in self._threads:
            thread.join(timeout=5)

    def stop(self) -> None:
        """Finish soon: running jobs go back to the queue."""
        self.stopping.set()

    def _heartbeat(self) -> None:
        for pk in queue.extend(self.name, list(self._running)):
            if cancelled := self._running.get(pk):
                cancelled.set()

    def _loop(self) -> None:
        while not self.stopping.is_set():
            close_old_connections()
            try:
                found = queue.claim(self.name)
            except OperationalError as error:
                log.warning("the database is not answering: %s", error)
                found = None
            if found is None:
                self.stopping.wait(IDLE_S)
            else:
                self._run_claimed(found)
        connection.close()

    def _run_claimed(self, found: Job) -> None:
        cancelled = self._running[found.pk] = threading.Event()
        try:
            run_job(self.name, found, JobContext(found, cancelled), stopping=self.stopping.is_set)
        except OperationalError as error:
            log.warning("job %s: %s; its lease will run out and it will be tried again", found, error)
        except Exception:
            log.exception("the end of job %s could not be written; it will be tried again", found)
        finally:
            self._running.pop(found.pk, None)


def run_job(worker: str, found: Job, context: JobContext, *, stopping: Any = lambda: False) -> None:
    """Run one claimed job to its end and write down how it ended."""
    kind = queue.KINDS.get(found.kind)
    if kind is None or found.attempts > queue.ATTEMPTS:
        why = "it was interrupted too often" if kind else "this version does not know this kind of work"
        queue.finish(worker, found, JobState.FAILED, error=f"Given up: {why}.", error_code="job.given_up")
        if kind is not None and kind.given_up is not None:
            kind.given_up(**found.arguments)
        return
    try:
        result = kind.handler(context, **found.arguments)
    except Cancelled:
        if stopping() and not _cancel_was_asked(found):
            queue.give_back(worker, found, delay=timedelta(0))
        else:
            queue.finish(worker, found, JobState.CANCELLED)
    except ServiceError as error:
        queue.finish(worker, found, JobState.FAILED, error=error.message[:500], error_code=error.error_code)
    except OperationalError:
        queue.give_back(worker, found, delay=timedelta(seconds=10))
    except Exception:
        log.exception("job %s failed", found)
        queue.finish(
            worker,
            found,
            JobState.FAILED,
            error="It failed unexpectedly; see the log.",
            error_code="internal",
        )
    else:
        queue.finish(worker, found, JobState.SUCCEEDED, result=result, progress=1.0)


def _cancel_was_asked(found: Job) -> bool:
    return Job.objects.filter(pk=found.pk, cancel_requested=True).exists()
