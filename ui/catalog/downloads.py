"""Changing downloads. Each function is one transaction with its audit event; the bytes are `transfer`'s."""

import os
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from airlock.contract import Airlock, AirlockDisabled
from registry.contract import Registry
from secai_site.kernel import ports
from secai_site.kernel.audit.log import record
from secai_site.kernel.auth.principal import Principal
from secai_site.kernel.errors import Conflict, InvalidRequest, NotFound, StorageFull
from secai_site.kernel.jobs.models import Job
from secai_site.kernel.jobs.queue import UNFINISHED, enqueue
from ui.catalog.admission import admitted
from ui.catalog.lifecycle import DISMISSIBLE, MOVES, OPEN, DownloadStatus
from ui.catalog.models import Download, downloads_folder
from ui.catalog.standing import credential_of

JOB = "ui.download"
SPARE_BYTES = 256 * 1024 * 1024  # what a download leaves free, so that the rest of the box can work


# --- asking ------------------------------------------------------------------------------------------


def ask(*, url: str, name: str, sha256: str, caller: Principal) -> Download:
    """Queue a download; raises the `ServiceError` for whatever speaks against it now."""
    _require_free_name(name)
    admitted(url)
    status = ports.get(Airlock).status()
    if not status.enabled:
        raise AirlockDisabled(status.reason)
    require_room(0)
    return _enter(url, name, sha256, caller)


@transaction.atomic(durable=True)
def _enter(url: str, name: str, sha256: str, caller: Principal) -> Download:
    download = Download.objects.create(
        url=url, name=name, sha256=sha256, owner=caller.user, asked_with=credential_of(caller)
    )
    _enqueue(download)
    _record(download, DownloadStatus.QUEUED, caller.name)
    return download


def _require_free_name(name: str, but: Download | None = None) -> None:
    """Raise `InvalidRequest` when a model, or another download than `but`, has this name."""
    key = name.casefold()
    models = [model["name"] for model in ports.get(Registry).models() if model["status"] == "promoted"]
    rows = Download.objects.filter(status__in=OPEN)
    awaited = (rows.exclude(pk=but.pk) if but else rows).values_list("name", flat=True)
    if any(taken.casefold() == key for taken in (*models, *awaited)):
        raise InvalidRequest(
            f"There is already a model or a download named “{name}”. Choose another name.",
            code="model.name_taken",
        )


def free_bytes() -> int:
    """What is free where downloads go."""
    found = os.statvfs(downloads_folder())
    return found.f_bavail * found.f_frsize


def require_room(still_to_come: int) -> None:
    """Raise `StorageFull` when so many bytes would leave too little free."""
    free = free_bytes()
    if still_to_come + SPARE_BYTES > free:
        raise StorageFull(
            f"Only {free:,} bytes are free on the disk, too few for this download. Make room and take it up again."
        )


# --- what people do with them ------------------------------------------------------------------------


def find(pk: UUID | str) -> Download:
    """One download; raises `NotFound`."""
    found = Download.objects.filter(pk=pk).first()
    if found is None:
        raise NotFound("There is no such download.", code="download.not_found")
    return found


@transaction.atomic(durable=True)
def pause(*, download: Download, actor: str) -> Download:
    """Stop for now and keep what has arrived."""
    if download.digest:
        raise Conflict(
            "All of it has arrived; it is being handed to quarantine just now.", code="download.state"
        )
    return move(download, DownloadStatus.PAUSED, actor=actor, rate_bytes_per_s=0)


def resume(*, download: Download, caller: Principal, name: str = "") -> Download:
    """Go on from what has arrived, under another name if one is given; whoever resumes it answers for it from here on.

    Raises `Conflict`, and `InvalidRequest` when the new name is taken.
    """
    if name:
        _require_free_name(name, but=download)
    with transaction.atomic(durable=True):
        moved = move(
            download, DownloadStatus.QUEUED, actor=caller.name, owner=caller.user,
            asked_with=credential_of(caller), name=name or download.name,
        )  # fmt: skip
        _enqueue(moved)
    return moved


def cancel(*, download: Download, actor: str) -> Download:
    """End it and throw away what has arrived."""
    with transaction.atomic(durable=True):
        moved = move(download, DownloadStatus.CANCELLED, actor=actor, rate_bytes_per_s=0, received_bytes=0)
    download.part.unlink(missing_ok=True)
    return moved


def dismiss(*, download: Download, actor: str) -> None:
    """Take an ended download off the list."""
    if _is_leaving(download):
        raise Conflict(
            "Its file is being taken out of quarantine again. Wait a moment and try again.",
            code="download.state",
        )
    with transaction.atomic(durable=True):
        gone, _ = Download.objects.filter(pk=download.pk, status__in=DISMISSIBLE).delete()
        if not gone:
            raise Conflict("This download has not ended; cancel it first.", code="download.state")
        record("catalog.download:dismissed", actor=actor, target=f"download:{download.pk}")
    download.part.unlink(missing_ok=True)


# --- moving ------------------------------------------------------------------------------------------


def move(
    download: Download, to: DownloadStatus, *, actor: str, reason: str = "", code: str = "", **fields: Any
) -> Download:
    """Move to the state `to` inside the caller's transaction; raises `Conflict` when it is elsewhere by now.

    The run of a download moves it only while it is this run's turn.
    """
    if to not in MOVES[DownloadStatus(download.status)]:
        raise Conflict(f"A download that is {download.status} cannot become {to}.", code="download.state")
    fields |= {
        "status": to.value, "reason": reason[:500], "code": code[:80], "updated_at": timezone.now(),
    }  # fmt: skip
    changed = Download.objects.filter(pk=download.pk, status=download.status, turn=download.turn).update(
        **fields
    )
    if changed != 1:
        raise Conflict("This download's state has changed meanwhile; look again.", code="download.state")
    for name, value in fields.items():
        setattr(download, name, value)
    _record(download, to, actor)
    return download


def _enqueue(download: Download) -> None:
    enqueue(JOB, subject=str(download.pk), owner_id=download.owner_id, download_id=str(download.pk))


def _record(download: Download, status: DownloadStatus, actor: str) -> None:
    record(
        f"catalog.download:{status}", actor=actor, target=f"download:{download.pk}",
        outcome="failed" if status is DownloadStatus.FAILED else "done",
        detail={"name": download.name, "received_bytes": download.received_bytes}
        | ({"code": download.code} if download.code else {}),
    )  # fmt: skip


@transaction.atomic(durable=True)
def begin(pk: str) -> Download | None:
    """Take the turn to run it; None when it is not to be run."""
    download = Download.objects.filter(
        pk=pk, status__in=(DownloadStatus.QUEUED, DownloadStatus.RUNNING)
    ).first()
    if download is None:
        return None
    return move(download, DownloadStatus.RUNNING, actor="service:jobs", turn=download.turn + 1)


def keep(download: Download, **fields: Any) -> bool:
    """Write down how far this run is; False when it is not its turn any more."""
    mine = Download.objects.filter(pk=download.pk, status=DownloadStatus.RUNNING.value, turn=download.turn)
    if mine.update(updated_at=timezone.now(), **fields) != 1:
        return False
    for name, value in fields.items():
        setattr(download, name, value)
    return True


@transaction.atomic(durable=True)
def fail(*, download: Download, reason: str, code: str) -> None:
    """End a run that cannot go on; what has arrived stays."""
    move(download, DownloadStatus.FAILED, actor="service:jobs", reason=reason, code=code, rate_bytes_per_s=0)


@transaction.atomic(durable=True)
def complete(*, download: Download, item_id: str) -> None:
    """The file is in quarantine."""
    move(
        download, DownloadStatus.DONE, actor="service:jobs", item_id=item_id, rate_bytes_per_s=0,
        received_bytes=download.size_bytes or download.received_bytes,
    )  # fmt: skip


# --- cancelled while it was handed over --------------------------------------------------------------


def note_late_cancel(*, download: Download, item_id: str) -> Download | None:
    """Remember that a cancelled download's file is in quarantine; None when it was not cancelled."""
    rows = Download.objects.filter(pk=download.pk, status=DownloadStatus.CANCELLED.value)
    rows.update(item_id=item_id, updated_at=timezone.now())
    return rows.first()


def cancelled_late() -> list[Download]:
    """Cancelled downloads whose files may still lie in quarantine."""
    return list(Download.objects.filter(status=DownloadStatus.CANCELLED.value).exclude(item_id=""))


def settle(*, download: Download, reason: str) -> None:
    """A cancelled download's file is in quarantine no more; `reason` says what became of it, if not nothing."""
    Download.objects.filter(pk=download.pk, status=DownloadStatus.CANCELLED.value).update(
        item_id="", reason=reason[:500], updated_at=timezone.now()
    )


def _is_leaving(download: Download) -> bool:
    """Whether it was cancelled so late that its file is, or may get, into quarantine."""
    jobs = Job.objects.filter(kind=JOB, subject=str(download.pk), state__in=UNFINISHED)
    late = download.status == DownloadStatus.CANCELLED and bool(download.digest)
    return late and (bool(download.item_id) or jobs.exists())
