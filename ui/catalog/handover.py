"""A download that is complete goes into quarantine, and out again if it was cancelled too late to stop that."""

import os
from pathlib import Path

from django.conf import settings

from registry.contract import Registry
from secai_site.kernel import ports
from secai_site.kernel.errors import Conflict, ServiceError
from secai_site.kernel.files import sync_folder
from secai_site.kernel.jobs.worker import JobContext
from ui.catalog import downloads
from ui.catalog.admission import PASSING, patiently
from ui.catalog.models import Download
from ui.catalog.transfer import Stopped

PROMOTED = (
    "It was cancelled too late: its file had passed every check and is a model of this box now. Delete the model if "
    "you do not want it."
)


class Lost(ServiceError):
    """A crash took the file between here and quarantine."""

    status = 500
    code = "download.lost"


def hand_over(context: JobContext, download: Download) -> None:
    """Move the verified file into quarantine and say that it is there; raises `Stopped` when it was cancelled.

    A crash may have come between any two steps, so each looks first at what there is.
    """
    item_id = patiently(context, lambda: _submitted(download))
    try:
        downloads.complete(download=download, item_id=item_id)
    except Conflict:
        if item_id:
            _take_back(download, item_id)
        raise Stopped from None


def _submitted(download: Download) -> str:
    """The id of its item in quarantine, "" when it is promoted already."""
    incoming = Path(settings.QUARANTINE_DIR) / "incoming" / download.pk.hex
    if download.part.exists():
        os.utime(download.part)  # what is old in the incoming folder is taken for a leftover
        os.rename(download.part, incoming)
        sync_folder(incoming.parent)
    if not incoming.exists():
        return _submitted_before(download)
    try:
        item = ports.get(Registry).submit(
            path=incoming.name, name=download.name, filename=download.filename, source=download.address,
            pin=download.sha256, by=download.owner_id,
        )  # fmt: skip
    except ServiceError as error:
        if error.http_status in PASSING:
            raise
        if not incoming.exists():
            return _submitted_before(download)
        os.rename(incoming, download.part)
        raise
    return item["id"]


def _submitted_before(download: Download) -> str:
    """The item that an earlier run made of this file; raises `Lost` when there is none."""
    registry = ports.get(Registry)
    for item in registry.quarantine():
        mine = item["source"] == download.address and item["name"] == download.name
        if mine and item["created_at"] >= download.created_at.isoformat()[:19]:
            return item["id"]
    if any(m["source"] == download.address and m["name"] == download.name for m in registry.models()):
        return ""
    downloads.keep(download, digest="", received_bytes=0, etag="", size_bytes=None)
    raise Lost(
        "The file was lost on its way into quarantine. Take the download up again to fetch it once more."
    )


def _take_back(download: Download, item_id: str) -> None:
    """It may not stay if it was cancelled while it was handed over; another run's turn is no cancellation."""
    cancelled = downloads.note_late_cancel(download=download, item_id=item_id)
    if cancelled is not None:
        withdraw(cancelled)


def withdraw(download: Download) -> None:
    """Take a cancelled download's file out of quarantine; nothing changes while that is not possible.

    A scan that is busy with the file comes first, and may end in a promotion. Repeat it until `item_id` is empty.
    """
    registry = ports.get(Registry)
    try:
        if any(item["id"] == download.item_id for item in registry.quarantine()):
            registry.drop(download.item_id, by=None)
        promoted = any(
            model["source"] == download.address and model["name"] == download.name
            and model["promoted_at"] >= download.created_at.isoformat()[:19]
            for model in registry.models()
        )  # fmt: skip
    except ServiceError:
        return
    downloads.settle(download=download, reason=PROMOTED if promoted else "")
