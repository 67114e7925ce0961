"""The queue: asking for work, claiming it by a conditional update, ending it once.

A worker holds a claimed job by a lease that it keeps extending. When it dies, the lease runs out (at once if its
process is seen to be gone) and the job is claimed again; its handler must therefore be safe to repeat.
"""

import os
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from secai_site.kernel.jobs.models import ENDED, Job, JobState, Schedule

LEASE = timedelta(seconds=20)
ATTEMPTS = 3
UNFINISHED = (JobState.QUEUED.value, JobState.RUNNING.value)


@dataclass(frozen=True, slots=True)
class JobKind:
    """What runs for one kind of job, how often by itself (seconds, None: only when asked for), how many at once.

    `given_up` hears of a job that was interrupted too often, with its arguments.
    """

    name: str
    handler: Callable[..., dict[str, Any] | None]
    every: Callable[[], int] | None = None
    at_once: int | None = None
    given_up: Callable[..., None] | None = None


KINDS: dict[str, JobKind] = {}
# Threads of the worker claim one after the other, so that no kind runs more often than it may.
_CLAIMING = threading.Lock()


def job(
    name: str,
    *,
    every: Callable[[], int] | None = None,
    at_once: int | None = None,
    given_up: Callable[..., None] | None = None,
) -> Callable[[Callable[..., dict[str, Any] | None]], Callable[..., dict[str, Any] | None]]:
    """Register the handler of a kind of job: `handler(context, **arguments)` returns a small result."""

    def register(handler: Callable[..., dict[str, Any] | None]) -> Callable[..., dict[str, Any] | None]:
        KINDS[name] = JobKind(name, handler, every, at_once, given_up)
        return handler

    return register


def enqueue(kind: str, *, subject: str = "", owner_id: int | None = None, **arguments: Any) -> Job:
    """Ask for work; call it inside the transaction that makes the work necessary.

    While a job of this kind is queued for the same subject, that one is returned.
    """
    if kind not in KINDS:
        raise LookupError(f"no handler is registered for {kind}")
    if subject:
        waiting = Job.objects.filter(kind=kind, subject=subject, state=JobState.QUEUED.value).first()
        if waiting:
            return waiting
    return Job.objects.create(kind=kind, subject=subject, owner_id=owner_id, arguments=arguments)


def claim(worker: str) -> Job | None:
    """Take the oldest job that is ready, or whose worker lost its lease; None when there is none.

    Kinds of which as many run as may run at once are passed over.
    """
    with _CLAIMING:
        return _claim(worker)


def _claim(worker: str) -> Job | None:
    now = timezone.now()
    ready = Q(state=JobState.QUEUED.value, run_after__lte=now)
    orphaned = Q(state=JobState.RUNNING.value, lease_until__lt=now)
    free = Job.objects.exclude(kind__in=_full(now))
    for found in free.filter(ready | orphaned).order_by("run_after")[:5]:
        taken = Job.objects.filter(
            pk=found.pk, state=found.state, leased_by=found.leased_by, lease_until=found.lease_until
        ).update(
            state=JobState.RUNNING.value, leased_by=worker, lease_until=now + LEASE, attempts=found.attempts + 1,
            started_at=found.started_at or now,
        )  # fmt: skip
        if taken:
            found.refresh_from_db()
            return found
    return None


def _full(now: datetime) -> list[str]:
    """Kinds that run as often as they may."""
    limited = [kind for kind in KINDS.values() if kind.at_once is not None]
    running = Counter(
        Job.objects.filter(
            kind__in=[kind.name for kind in limited], state=JobState.RUNNING.value, lease_until__gte=now
        ).values_list("kind", flat=True)
    )
    return [kind.name for kind in limited if running[kind.name] >= (kind.at_once or 0)]


def extend(worker: str, jobs: list[UUID]) -> set[UUID]:
    """Keep the leases of `jobs`; returns those that somebody asked to cancel."""
    mine = Job.objects.filter(pk__in=jobs, leased_by=worker, state=JobState.RUNNING.value)
    mine.update(lease_until=timezone.now() + LEASE)
    return set(mine.filter(cancel_requested=True).values_list("pk", flat=True))


def finish(worker: str, found: Job, state: JobState, **fields: Any) -> bool:
    """End a job that `worker` still holds; False when it lost it meanwhile."""
    changed = Job.objects.filter(pk=found.pk, leased_by=worker, state=JobState.RUNNING.value).update(
        state=state.value, finished_at=timezone.now(), lease_until=None, **fields
    )
    return changed == 1


def give_back(worker: str, found: Job, *, delay: timedelta) -> bool:
    """Put a job back into the queue; what was not the job's own fault is no attempt."""
    changed = Job.objects.filter(pk=found.pk, leased_by=worker, state=JobState.RUNNING.value).update(
        state=JobState.QUEUED.value,
        leased_by="",
        lease_until=None,
        run_after=timezone.now() + delay,
        attempts=max(found.attempts - 1, 0),
    )
    return changed == 1


@transaction.atomic
def cancel(pk: UUID) -> bool:
    """Cancel a queued job, or ask a running one to stop; False when it has already ended."""
    waiting = Job.objects.filter(pk=pk, state=JobState.QUEUED.value)
    if waiting.update(state=JobState.CANCELLED.value, finished_at=timezone.now()):
        return True
    return Job.objects.filter(pk=pk, state=JobState.RUNNING.value).update(cancel_requested=True) == 1


def release_dead() -> int:
    """Free the jobs of workers whose process is gone from this machine; returns how many."""
    freed = 0
    for held in Job.objects.filter(state=JobState.RUNNING.value):
        if not _is_alive(held.leased_by):
            freed += Job.objects.filter(pk=held.pk, leased_by=held.leased_by).update(lease_until=_past())
    return freed


def enqueue_due() -> None:
    """Enqueue every recurring kind whose time has come; one process wins by a conditional update."""
    now = timezone.now()
    for kind in KINDS.values():
        if kind.every is None:
            continue
        row, _made = Schedule.objects.get_or_create(kind=kind.name, defaults={"due_at": now})
        if row.due_at > now:
            continue
        won = Schedule.objects.filter(kind=kind.name, due_at=row.due_at).update(due_at=now + _interval(kind))
        if won and not Job.objects.filter(kind=kind.name, state__in=UNFINISHED).exists():
            enqueue(kind.name)


def prune(keep: timedelta = timedelta(days=7)) -> None:
    """Forget jobs that ended long ago; what they did stands in the audit log."""
    Job.objects.filter(
        state__in=[state.value for state in ENDED], finished_at__lt=timezone.now() - keep
    ).delete()


def _interval(kind: JobKind) -> timedelta:
    assert kind.every is not None
    return timedelta(seconds=kind.every())


def _past() -> datetime:
    return timezone.now() - timedelta(seconds=1)


def _is_alive(worker: str) -> bool:
    """Whether the process named in a lease (`pid:start time`) runs on this machine."""
    pid, _, started = worker.partition(":")
    return pid.isdecimal() and process_started(int(pid)) == started


def process_started(pid: int) -> str | None:
    """When a process started, in clock ticks since boot: tells a process from a later one of the same pid."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19]
    except OSError:
        return None


def worker_name() -> str:
    """This process's name in leases."""
    return f"{os.getpid()}:{process_started(os.getpid())}"
