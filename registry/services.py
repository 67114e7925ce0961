"""Changing the registry: taking files in, moving them through quarantine, promoting, deleting.

The files and the rows cannot change in one step, so each operation is ordered such that a crash between its
steps leaves either the old state or the new one, and `sweep` clears what nobody owns.
"""

import logging
import os
import shutil
import time
import uuid
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from registry import names
from registry.lifecycle import LETS_THROUGH, MOVES, STAGES, ItemStatus, Verdict
from registry.models import Artifact, QuarantineItem
from registry.record import promotion_record
from registry.selectors import stage_record
from secai_site.kernel.audit.log import record, record_refusal
from secai_site.kernel.errors import Conflict, InvalidRequest, NotFound, ServiceError
from secai_site.kernel.files import open_below, publish, sha256_of, sync_folder
from secai_site.kernel.jobs.models import Job
from secai_site.kernel.jobs.queue import UNFINISHED, enqueue

log = logging.getLogger(__name__)

FORMATS = ("gguf", "safetensors", "diffusion")
LEFTOVER_S = 3600


class NotScanned(InvalidRequest):
    """No scan of exactly these bytes has passed."""

    code = "promote.not_scanned"


# --- taking in ---------------------------------------------------------------------------------------


def submit(
    *, path: str, name: str, filename: str, source: str, actor: str, pin: str = "", signature: str = ""
) -> QuarantineItem:
    """Move a file from the incoming folder into quarantine and queue its scan.

    The file is opened by descriptor without following links, hashed from the opened bytes and moved under a
    name of ours. Raises `NameRefused`, `PathRefused`, `NotFound`.
    """
    incoming = Path(settings.QUARANTINE_DIR) / "incoming"
    descriptor = open_below(incoming, path)
    try:
        item = QuarantineItem(
            id=uuid.uuid4(),
            name=names.checked(name) if name else names.from_filename(filename),
            filename=filename[:255],
            sha256=sha256_of(descriptor),
            size_bytes=os.fstat(descriptor).st_size,
            source=source,
            pin=pin,
            submitted_by=actor,
        )
        _require_free_name(item.name)
        publish(descriptor, incoming / path, item.file)
        (incoming / path).unlink()
    finally:
        os.close(descriptor)
    with transaction.atomic(durable=True):
        item.save(force_insert=True)
        enqueue("registry.scan", subject=str(item.pk), item_id=str(item.pk))
        record(
            "registry.file:submitted", actor=actor, target=f"quarantine:{item.pk}",
            detail={"sha256": item.sha256, "size_bytes": item.size_bytes},
        )  # fmt: skip
    return item


def _require_free_name(name: str) -> None:
    if Artifact.objects.filter(name_key=names.key_of(name)).exists():
        raise _name_taken(name)


def _name_taken(name: str) -> names.NameRefused:
    return names.NameRefused(
        f"There is already a model named “{name}”. Choose another name, or delete the old one first.",
        code="model.name_taken",
    )


# --- moving through quarantine -----------------------------------------------------------------------


@transaction.atomic(durable=True)
def move_item(item: QuarantineItem, to: ItemStatus, *, actor: str, reason: str = "", stage: str = "") -> None:
    """Move a file to the state `to`; raises `Conflict` when it is no longer where `item` says it is."""
    _move(item, to, actor=actor, reason=reason, stage=stage)


def _move(item: QuarantineItem, to: ItemStatus, *, actor: str, reason: str = "", stage: str = "") -> None:
    if to not in MOVES[ItemStatus(item.status)]:
        raise Conflict(f"A file that is {item.status} cannot become {to}.", code="quarantine.state")
    changed = QuarantineItem.objects.filter(pk=item.pk, status=item.status).update(
        status=to.value, reason=reason[:500], updated_at=timezone.now()
    )
    if changed != 1:
        raise Conflict("Somebody else changed this file's state meanwhile.", code="quarantine.state")
    outcome = "refused" if to is ItemStatus.REFUSED else "done"
    detail = {"sha256": item.sha256, "stage": stage} if stage else {"sha256": item.sha256}
    record(f"registry.file:{to}", actor=actor, target=f"quarantine:{item.pk}", outcome=outcome, detail=detail)
    item.status, item.reason = to.value, reason


def _require_idle(item: QuarantineItem) -> None:
    """A scan is busy with the file only while its job is not over; one that was given up must not block it."""
    scans = Job.objects.filter(kind="registry.scan", subject=str(item.pk), state__in=UNFINISHED)
    if item.status == ItemStatus.SCANNING and scans.exists():
        raise Conflict("This file is being scanned; wait until the scan has ended.", code="quarantine.state")


def explain(*, item: QuarantineItem, reason: str) -> None:
    """Say on the item why it stays where it is."""
    QuarantineItem.objects.filter(pk=item.pk).update(reason=reason[:500], updated_at=timezone.now())


@transaction.atomic(durable=True)
def rescan(*, item: QuarantineItem, actor: str) -> QuarantineItem:
    """Queue another scan of a file that no scan is busy with."""
    _require_idle(item)
    _move(item, ItemStatus.WAITING, actor=actor)
    enqueue("registry.scan", subject=str(item.pk), item_id=str(item.pk))
    record("registry.file:rescan", actor=actor, target=f"quarantine:{item.pk}")
    return item


def drop(*, item: QuarantineItem, actor: str) -> None:
    """Delete a file from quarantine: the row first, then its bytes."""
    _require_idle(item)
    with transaction.atomic(durable=True):
        QuarantineItem.objects.filter(pk=item.pk).delete()
        record(
            "registry.file:dropped",
            actor=actor,
            target=f"quarantine:{item.pk}",
            detail={"sha256": item.sha256},
        )
    shutil.rmtree(item.folder, ignore_errors=True)


# --- promoting ---------------------------------------------------------------------------------------


def promote_item(*, item: QuarantineItem, actor: str, name: str | None = None) -> Artifact:
    """Publish a file that passed every stage. Idempotent for the bytes, never replaces another file.

    Order: bytes into the store under their digest, then the row, then the quarantined copy goes. Raises
    `NotScanned`, `NameRefused`, `Conflict`.
    """
    _require_passed(item)
    wanted = names.checked(name or item.name)
    _require_free_name(wanted)
    target = store_path(item.sha256)
    descriptor = open_below(settings.QUARANTINE_DIR, f"{item.pk}/artifact")
    try:
        if sha256_of(descriptor) != item.sha256:
            raise NotScanned("The file changed after its scan; scan it again.", code="promote.mismatch")
        _into_store(descriptor, item, target)
    finally:
        os.close(descriptor)
    try:
        artifact = _enter(item, wanted, target, actor)
    except IntegrityError:
        raise _name_taken(wanted) from None  # by somebody who was faster
    shutil.rmtree(item.folder, ignore_errors=True)
    return artifact


@transaction.atomic(durable=True)
def _enter(item: QuarantineItem, name: str, target: Path, actor: str) -> Artifact:
    """The row of a published file, and the end of its time in quarantine."""
    _require_free_name(name)
    _move(item, ItemStatus.PROMOTED, actor=actor)
    artifact = _new_artifact(item, name, target, actor)
    record(
        "registry.model:promoted", actor=actor, target=f"model:{artifact.name}",
        detail={"sha256": item.sha256, "source": item.source},
    )  # fmt: skip
    return artifact


def _require_passed(item: QuarantineItem) -> None:
    verdicts = dict(item.stages.filter(sha256=item.sha256).values_list("name", "verdict"))
    passed = all(Verdict(verdicts.get(name, "pending")) in LETS_THROUGH for name in STAGES)
    if item.status != ItemStatus.HELD or not passed:
        raise NotScanned(
            f"“{item.name}” is {item.status}: only a file that passed every check can be promoted."
        )


def _into_store(descriptor: int, item: QuarantineItem, target: Path) -> None:
    if target.exists() and not os.path.samestat(os.stat(target), os.fstat(descriptor)):
        _require_intact(target, item.sha256)  # it is in the store already, under another name
        return
    publish(descriptor, item.file, target)


def _require_intact(stored: Path, sha256: str) -> None:
    descriptor = open_below(settings.MODELS_DIR, str(stored))
    try:
        if sha256_of(descriptor) != sha256:
            raise Conflict(
                "The same model is in the store under another name, but its file has changed. Delete that one first.",
                code="promote.store_damaged",
            )
    finally:
        os.close(descriptor)


def _new_artifact(item: QuarantineItem, name: str, target: Path, actor: str) -> Artifact:
    stages = [stage_record(stage) for stage in item.stages.all()]
    evidence = {stage["name"]: stage["evidence"] for stage in stages}
    gate, scanned = evidence["format_gate"], evidence["static_scan"]
    facts = {**gate.pop("facts", {}), "chat": bool(scanned.get("chat"))}
    verdicts = {stage["name"]: stage["verdict"] for stage in stages}
    return Artifact.objects.create(
        name=name,
        path=str(target),
        sha256=item.sha256,
        size_bytes=item.size_bytes,
        format=gate["format"],
        source=item.source,
        promoted_by=actor,
        gguf_guard_fingerprint=scanned.get("fingerprint") or "",
        gguf_guard_manifest=scanned.get("merkle_root") or "",
        facts=facts,
        scan=stages,
        record=promotion_record(name=name, sha256=item.sha256, verdicts=verdicts),
    )


def store_path(sha256: str) -> Path:
    """Where the bytes with this digest lie."""
    return Path(settings.MODELS_DIR) / sha256 / "model"


def promote_path(
    *,
    name: str,
    path: str,
    sha256: str,
    kind: str,
    source: str,
    actor: str,
) -> Artifact:
    """POST /v1/promote: find the scanned file that `path` leads to, and promote it.

    What the client says is only compared with the opened bytes. Raises `InvalidRequest` with a code of its own
    for each disagreement; each refusal is recorded.
    """
    try:
        return _promote_path(name=name, path=path, sha256=sha256, kind=kind, source=source, actor=actor)
    except ServiceError as error:
        record_refusal("registry.model:promoted", actor=actor, target=f"model:{name}", code=error.error_code)
        raise


def _promote_path(*, name: str, path: str, sha256: str, kind: str, source: str, actor: str) -> Artifact:
    names.checked(name)
    try:
        descriptor = open_below(settings.QUARANTINE_DIR, _quarantine_path(path))
    except NotFound as error:
        raise InvalidRequest("There is no such file in quarantine.", code="promote.missing") from error
    try:
        actual = sha256_of(descriptor)
    finally:
        os.close(descriptor)
    if actual != sha256:
        raise InvalidRequest(
            "The SHA-256 that was sent is not the file's.",
            code="promote.mismatch",
            expected=sha256,
            actual=actual,
        )
    item = QuarantineItem.objects.filter(sha256=actual, status=ItemStatus.HELD.value).first()
    if item is None:
        raise NotScanned("No scan of exactly these bytes has passed.")
    found_format = item.stages.get(name="format_gate").evidence.get("format")
    if found_format != kind:
        raise InvalidRequest(f"The file is {found_format}, not {kind}.", code="promote.format")
    if item.source != source:
        raise InvalidRequest("The file came from another source.", code="promote.source")
    return promote_item(item=item, actor=actor, name=name)


def _quarantine_path(path: str) -> str:
    """A bare name in quarantine means that item's file."""
    return path if "/" in path else f"{path}/artifact"


# --- deleting, failing -------------------------------------------------------------------------------


def delete_model(*, artifact: Artifact, actor: str) -> None:
    """Remove a model: the row first, then its bytes if no other name uses them."""
    with transaction.atomic(durable=True):
        Artifact.objects.filter(pk=artifact.pk).delete()
        record(
            "registry.model:deleted",
            actor=actor,
            target=f"model:{artifact.name}",
            detail={"sha256": artifact.sha256},
        )
    _remove_unused(artifact.sha256)


def _remove_unused(sha256: str) -> None:
    if not Artifact.objects.filter(sha256=sha256).exists():
        shutil.rmtree(store_path(sha256).parent, ignore_errors=True)


@transaction.atomic(durable=True)
def fail_model(*, artifact: Artifact, actual: str | None) -> None:
    """Take a model out of use because its file is not the promoted one any more."""
    changed = Artifact.objects.filter(pk=artifact.pk, status="promoted").update(status="failed")
    if changed:
        record(
            "registry.model:integrity", actor="service:registry", target=f"model:{artifact.name}", outcome="failed",
            detail={"expected": artifact.sha256, "actual": actual},
        )  # fmt: skip


# --- clearing up -------------------------------------------------------------------------------------


def sweep(now: float | None = None) -> dict[str, Any]:
    """Delete what a crash left behind and no row owns: old uploads, folders of unknown files, unlisted models."""
    removed = 0
    horizon = (now or time.time()) - LEFTOVER_S
    root = Path(settings.QUARANTINE_DIR)
    for upload in (root / "incoming").iterdir():
        if upload.lstat().st_mtime < horizon:
            upload.unlink()
            removed += 1
    known = {str(pk) for pk in QuarantineItem.objects.exclude(status="promoted").values_list("pk", flat=True)}
    for folder in root.iterdir():
        if folder.name != "incoming" and folder.name not in known and folder.lstat().st_mtime < horizon:
            shutil.rmtree(folder, ignore_errors=True)
            removed += 1
    owned = set(Artifact.objects.values_list("sha256", flat=True))
    for folder in Path(settings.MODELS_DIR).iterdir():
        if folder.name not in owned and folder.lstat().st_mtime < horizon:
            shutil.rmtree(folder, ignore_errors=True)
            removed += 1
    sync_folder(root)
    return {"removed": removed}
