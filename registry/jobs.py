"""The registry's long work: scanning what came in, checking what was promoted, clearing up."""

import os
import threading
from collections.abc import Callable
from typing import Any

from asgiref.sync import async_to_sync
from django.conf import settings
from django.db import OperationalError, connection

from registry import intake, policies, services
from registry.integrity import verify_all
from registry.lifecycle import ItemStatus
from registry.models import QuarantineItem
from registry.sweep import sweep as clear_up
from secai_site.kernel import ports
from secai_site.kernel.errors import ServiceError
from secai_site.kernel.inference.errors import EngineDown
from secai_site.kernel.inference.protocol import Engine
from secai_site.kernel.jobs.models import Job
from secai_site.kernel.jobs.queue import UNFINISHED, enqueue, job
from secai_site.kernel.jobs.worker import Cancelled, JobContext

BACKGROUND_NICENESS = 15
ADOPT_AFTER_S = 300
GIVEN_UP = (
    "Its checks broke off several times, so they were given up. Check it again; if that happens again, the file "
    "itself breaks them and is better left alone."
)


def give_up_scan(*, item_id: str) -> None:
    """Say on the item why nobody looks at it any more; checking it again stays possible."""
    item = QuarantineItem.objects.filter(pk=item_id, status=ItemStatus.SCANNING.value).first()
    if item is not None:
        services.move_item(item, ItemStatus.REFUSED, actor="service:jobs", reason=GIVEN_UP)


@job("registry.scan", at_once=1, given_up=give_up_scan)
def scan_item(context: JobContext, *, item_id: str) -> dict[str, Any]:
    """Scan one quarantined file and, where promotion is automatic, promote it. Safe to repeat."""
    item = QuarantineItem.objects.filter(pk=item_id).first()
    if item is None or item.status not in (ItemStatus.WAITING, ItemStatus.SCANNING, ItemStatus.HELD):
        return {"status": "gone" if item is None else item.status}
    if item.status != ItemStatus.HELD and not _scanned(item, context):
        return {"status": item.status}
    if policies.current()[0].promotion == "automatic":
        try:
            services.promote_item(item=item, actor="service:jobs")
        except ServiceError as error:
            services.explain(item=item, reason=f"It passed every check, but: {error.message}")
            raise
    return {"status": item.status}


def _scanned(item: QuarantineItem, context: JobContext) -> bool:
    """Scan it; whatever breaks the scan itself refuses the file and says so, and never leaves it half-way."""
    from registry.quarantine.scan import scan

    try:
        return scan(item, context)
    except (Cancelled, OperationalError):
        raise  # it is done again
    except Exception as error:
        said = error.message if isinstance(error, ServiceError) else "The operator finds why in the log."
        item.refresh_from_db()
        if item.status == ItemStatus.SCANNING:
            services.move_item(
                item,
                ItemStatus.REFUSED,
                actor="service:jobs",
                reason=f"Its checks broke off. {said} Check it again.",
            )
        raise


@job("registry.resume", every=lambda: 300)
def resume(_context: JobContext) -> dict[str, Any]:
    """Enter files that came without their row, and queue scans that nobody will do any more."""
    adopted = intake.adopt(older_than=ADOPT_AFTER_S)
    queued = 0
    waiting = QuarantineItem.objects.filter(status__in=(ItemStatus.WAITING.value, ItemStatus.SCANNING.value))
    for item in waiting:
        if not Job.objects.filter(kind="registry.scan", subject=str(item.pk), state__in=UNFINISHED).exists():
            enqueue("registry.scan", subject=str(item.pk), item_id=str(item.pk))
            queued += 1
    return {"adopted": adopted, "queued": queued}


@job("registry.verify", every=lambda: settings.INTEGRITY_INTERVAL_S, at_once=1)
def verify(context: JobContext, *, name: str | None = None, background: bool = True) -> dict[str, Any]:
    """Hash the promoted models again; unload those that changed. By itself it yields to all other work."""

    def check() -> dict[str, Any]:
        return verify_all(context.progress, name=name, unload=unload)

    return yielding(check) if background else check()


def yielding(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do `work` in a thread of its own with low priority, which on Linux each thread has for itself."""
    result: list[dict[str, Any]] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BACKGROUND_NICENESS)
            result.append(work())
        except BaseException as error:
            failure.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=run, name="jobs-background")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


@job("registry.sweep", every=lambda: 6 * 3600)
def sweep(_context: JobContext) -> dict[str, Any]:
    """Delete what crashes left behind and what was kept long enough."""
    return clear_up()


def unload(name: str) -> None:
    """Take a model out of the engine's memory; an engine that is down has nothing in memory."""
    try:
        async_to_sync(ports.get(Engine).unload)(name)
    except EngineDown:
        return
