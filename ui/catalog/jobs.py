"""The downloads' work: fetching, handing over to quarantine, and taking up again what a crash left."""

import os
import shutil
import time
from pathlib import Path
from typing import Any

from django.conf import settings

from registry.contract import Registry
from secai_site.kernel import ports
from secai_site.kernel.errors import Conflict, ServiceError
from secai_site.kernel.files import sync_folder
from secai_site.kernel.jobs.models import Job
from secai_site.kernel.jobs.queue import UNFINISHED, enqueue, job
from secai_site.kernel.jobs.worker import JobContext
from ui.catalog import downloads
from ui.catalog.lifecycle import ACTIVE, OPEN
from ui.catalog.models import Download, downloads_folder
from ui.catalog.partfile import PartFile
from ui.catalog.stream import WAIT_S
from ui.catalog.transfer import Run, Stopped, fetch

LEFTOVER_S = 3600
HAND_OVER_S = (0.5, 2.0, 5.0, 15.0)
PASSING = (429, 503)  # the registry is starting, or busy


class Lost(ServiceError):
    """A crash took the file between here and quarantine."""

    status = 500
    code = "download.lost"


@job(downloads.JOB, at_once=2)
def run_download(context: JobContext, *, download_id: str) -> dict[str, Any]:
    """Bring one file into quarantine. Safe to repeat, from wherever a crash left it."""
    download = downloads.begin(download_id)
    if download is None:
        return {"status": "gone"}
    try:
        if not download.digest:
            _fetch(context, download)
        item_id = _hand_over(context, download)
        _complete(download, item_id)
    except Stopped:
        return {"status": "stopped"}
    except ServiceError as error:
        _fail(download, error)
    return {"status": download.status}


def _fetch(context: JobContext, download: Download) -> None:
    part = PartFile(download.part)
    run = Run(download, part, context)
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


# --- handing over ------------------------------------------------------------------------------------


def _hand_over(context: JobContext, download: Download) -> str:
    """Move the verified file into quarantine; returns the id of its item, "" when it is promoted already.

    A crash may have come between any two steps, so each looks first at what there is.
    """
    for wait in (*HAND_OVER_S, None):
        try:
            return _try_hand_over(download)
        except ServiceError as error:
            if wait is None or error.http_status not in PASSING:
                raise
        until = time.monotonic() + (wait or 0)
        while time.monotonic() < until:
            context.check()
            time.sleep(WAIT_S)
    raise AssertionError


def _try_hand_over(download: Download) -> str:
    incoming = Path(settings.QUARANTINE_DIR) / "incoming" / download.pk.hex
    if download.part.exists():
        os.utime(download.part)  # what is old in the incoming folder is taken for a leftover
        os.rename(download.part, incoming)
        sync_folder(incoming.parent)
    if not incoming.exists():
        return _handed_over(download)
    try:
        item = ports.get(Registry).submit(
            path=incoming.name, name=download.name, filename=download.filename, source=download.url,
            pin="" if download.filename.lower().endswith(".zip") else download.sha256, by=download.owner_id,
        )  # fmt: skip
    except ServiceError as error:
        if error.http_status in PASSING:
            raise
        if not incoming.exists():
            return _handed_over(download)
        os.rename(incoming, download.part)
        raise
    return item["id"]


def _handed_over(download: Download) -> str:
    """The item that an earlier run made of this file; raises `Lost` when there is none."""
    registry = ports.get(Registry)
    for item in registry.quarantine():
        mine = item["source"] == download.url and item["name"] == download.name
        if mine and item["created_at"] >= download.created_at.isoformat()[:19]:
            return item["id"]
    if any(m["source"] == download.url and m["name"] == download.name for m in registry.models()):
        return ""
    downloads.keep(download, digest="", received_bytes=0, etag="", size_bytes=None)
    raise Lost(
        "The file was lost on its way into quarantine. Take the download up again to fetch it once more."
    )


def _complete(download: Download, item_id: str) -> None:
    try:
        downloads.complete(download=download, item_id=item_id)
    except Conflict:
        if item_id:  # it was cancelled while it was handed over
            ports.get(Registry).drop(item_id, by=download.owner_id)
        raise Stopped from None


# --- keeping order -----------------------------------------------------------------------------------


@job("ui.downloads", every=lambda: 30)
def keep_order(_context: JobContext) -> dict[str, Any]:
    """Give a download whose job was lost a new one, and delete bytes that no download owns."""
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
