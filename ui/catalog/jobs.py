"""The downloads' work: fetching, handing over to quarantine, and taking up again what a crash left."""

import shutil
import time
from typing import Any

from secai_site.kernel.errors import Conflict, ServiceError
from secai_site.kernel.jobs.models import Job
from secai_site.kernel.jobs.queue import UNFINISHED, enqueue, job
from secai_site.kernel.jobs.worker import JobContext
from ui.catalog import downloads
from ui.catalog.admission import admitted, patiently
from ui.catalog.handover import hand_over, withdraw
from ui.catalog.lifecycle import ACTIVE, OPEN
from ui.catalog.models import Download, downloads_folder
from ui.catalog.partfile import PartFile
from ui.catalog.stream import WAIT_S
from ui.catalog.transfer import Run, Stopped, fetch

LEFTOVER_S = 3600


@job(downloads.JOB, at_once=2)
def run_download(context: JobContext, *, download_id: str) -> dict[str, Any]:
    """Bring one file into quarantine. Safe to repeat, from wherever a crash left it."""
    download = downloads.begin(download_id)
    if download is None:
        return {"status": "gone"}
    try:
        if not download.digest:
            _fetch(context, download)
        hand_over(context, download)
    except Stopped:
        return {"status": "stopped"}
    except ServiceError as error:
        _fail(download, error)
    return {"status": download.status}


def _fetch(context: JobContext, download: Download) -> None:
    most = patiently(context, lambda: admitted(download.url))
    part = PartFile(download.part)
    run = Run(download, part, context, most)
    try:
        while not part.lock():  # an earlier run is about to notice that its turn is over
            run.look()
            time.sleep(WAIT_S)
        part.restore(download.received_bytes, run.look)
        fetch(run)
    except ServiceError:
        run.settle()
        raise
    finally:
        part.close()


def _fail(download: Download, error: ServiceError) -> None:
    try:
        downloads.fail(download=download, reason=error.message, code=error.error_code)
    except Conflict:
        return  # somebody paused or cancelled it in this moment


# --- keeping order -----------------------------------------------------------------------------------


@job("ui.downloads", every=lambda: 30)
def keep_order(_context: JobContext) -> dict[str, Any]:
    """Give a download whose job was lost a new one, take back what was cancelled late, delete bytes nobody owns."""
    busy = set(Job.objects.filter(kind=downloads.JOB, state__in=UNFINISHED).values_list("subject", flat=True))
    taken_up = 0
    for download in Download.objects.filter(status__in=ACTIVE):
        if str(download.pk) not in busy:
            enqueue(
                downloads.JOB,
                subject=str(download.pk),
                owner_id=download.owner_id,
                download_id=str(download.pk),
            )
            taken_up += 1
    for download in downloads.cancelled_late():
        withdraw(download)
    return {"taken_up": taken_up, "removed": _clear()}


def _clear() -> int:
    owned = {f"{pk}.part" for pk in Download.objects.filter(status__in=OPEN).values_list("pk", flat=True)}
    horizon, removed = time.time() - LEFTOVER_S, 0
    for entry in downloads_folder().iterdir():
        if entry.name in owned or entry.lstat().st_mtime >= horizon:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
        removed += 1
    return removed
