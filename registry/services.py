"""Changing the registry: moving files through quarantine, promoting, failing and deleting models.

The files and the rows cannot change in one step, so each operation is ordered such that a crash between its
steps leaves either the old state or the new one, and `sweep` clears what nobody owns.
"""

import contextlib
import logging
import os
import shutil
import uuid
from pathlib import Path

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from registry import names, policies, store
from registry.intake import name_taken, require_free_name
from registry.lifecycle import LETS_THROUGH, MOVES, STAGES, ItemStatus, Verdict
from registry.models import Artifact, QuarantineItem
from registry.purpose import Purpose, purpose_of
from registry.record import make_record
from registry.selectors import stage_record
from secai_site.kernel.audit.log import record, record_refusal
from secai_site.kernel.errors import Conflict, InvalidRequest, NotFound, ServiceError
from secai_site.kernel.files import PathRefused, open_below, parts_below, set_digest, sha256_of
from secai_site.kernel.jobs.models import Job
from secai_site.kernel.jobs.queue import UNFINISHED, enqueue

log = logging.getLogger(__name__)


class NotScanned(InvalidRequest):
    """No scan of exactly these bytes has passed."""

    code = "promote.not_scanned"


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
    if item.status == ItemStatus.PROMOTED:
        raise Conflict(
            "It is promoted and no longer in quarantine. Delete the model.", code="quarantine.state"
        )
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
    """Publish what passed every stage under the policy in force; a refusal is recorded. See `_promote`."""
    try:
        return _promote(item=item, actor=actor, name=name)
    except ServiceError as error:
        record_refusal(
            "registry.model:promoted", actor=actor, target=f"model:{name or item.name}", code=error.error_code
        )
        raise


def _promote(*, item: QuarantineItem, actor: str, name: str | None) -> Artifact:
    """Publish what passed every stage. Idempotent for the bytes, never replaces another file.

    Order: bytes into the store under their digest, then the row, then the quarantined copy goes. Raises
    `NotScanned`, `NameRefused`, `Conflict`, `PolicyBroken`.
    """
    _require_passed(item, policies.current()[1])
    wanted = names.checked(name or item.name)
    require_free_name(wanted)
    with contextlib.ExitStack() as opened:
        files = _opened(item, opened)
        if _digest_of(item, files) != item.sha256:
            raise NotScanned("The file changed after its scan; scan it again.", code="promote.mismatch")
        opened.enter_context(store.locked())
        target = store.place(
            sha256=item.sha256, source=item.file, files=files, is_set=bool(item.files), manifest=item.manifest
        )
        try:
            artifact = _enter(item, wanted, target, actor)
        except IntegrityError:
            raise name_taken(wanted) from None  # by somebody who was faster
    shutil.rmtree(item.folder, ignore_errors=True)
    return artifact


def _opened(item: QuarantineItem, opened: contextlib.ExitStack) -> dict[str, int]:
    """Descriptors of all files by their path in the set, "" for one file."""
    files: dict[str, int] = {}
    for path in [file["path"] for file in item.files] or [""]:
        below = f"{item.pk}/artifact/{path}" if path else f"{item.pk}/artifact"
        files[path] = open_below(settings.QUARANTINE_DIR, below)
        opened.callback(os.close, files[path])
    return files


def _digest_of(item: QuarantineItem, files: dict[str, int]) -> str:
    if not item.files:
        return sha256_of(files[""])
    return set_digest((path, sha256_of(descriptor)) for path, descriptor in files.items())


@transaction.atomic(durable=True)
def _enter(item: QuarantineItem, name: str, target: Path, actor: str) -> Artifact:
    """The row of a published file, and the end of its time in quarantine."""
    require_free_name(name)
    Artifact.objects.filter(name_key=names.key_of(name), status="failed").delete()
    _move(item, ItemStatus.PROMOTED, actor=actor)
    artifact = _new_artifact(item, name, target, actor)
    record(
        "registry.model:promoted", actor=actor, target=f"model:{artifact.name}",
        detail={
            "sha256": item.sha256, "source": item.source, "policy": item.policy_version,
            "manual": actor != "service:jobs",
        },
    )  # fmt: skip
    return artifact


def _require_passed(item: QuarantineItem, policy_number: int) -> None:
    """Every stage let these very bytes through, as the stages and the policy are now."""
    from registry.quarantine.scan import versions

    results = {one.name: one for one in item.stages.filter(sha256=item.sha256)}
    passed = all(name in results and Verdict(results[name].verdict) in LETS_THROUGH for name in STAGES)
    if item.status != ItemStatus.HELD or not passed:
        raise NotScanned(
            f"“{item.name}” is {item.status}: only a file that passed every check can be promoted."
        )
    known = {name: result.version for name, result in results.items()}
    if item.policy_version != policy_number or known != versions():
        raise NotScanned(
            f"The checks or the policy have changed since “{item.name}” was scanned. Scan it again.",
            code="promote.outdated",
        )


def _new_artifact(item: QuarantineItem, name: str, target: Path, actor: str) -> Artifact:
    stages = [stage_record(stage) for stage in item.stages.all()]
    evidence = {stage["name"]: stage["evidence"] for stage in stages}
    gate, scanned = evidence["format_gate"], evidence["static_scan"]
    facts = gate.pop("facts", {})
    purpose = purpose_of(gate["format"], facts)
    return Artifact.objects.create(
        name=name,
        path=str(target),
        sha256=item.sha256,
        size_bytes=item.size_bytes,
        files=item.files,
        format=gate["format"],
        source=item.source,
        promoted_by=actor,
        gguf_guard_fingerprint=scanned.get("fingerprint") or "",
        gguf_guard_manifest=scanned.get("merkle_root") or "",
        facts={**facts, "chat": purpose is Purpose.CHAT, "purpose": purpose.value},
        scan=stages,
        record=make_record(
            name=name, sha256=item.sha256, source=item.source, promoted_by=actor, policy_version=item.policy_version,
            stages=stages,
        ),
    )  # fmt: skip


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
    item = _item_at(path)
    try:
        with contextlib.ExitStack() as opened:
            actual = _digest_of(item, _opened(item, opened))
    except NotFound as error:
        raise InvalidRequest("There is no such file in quarantine.", code="promote.missing") from error
    if actual != sha256:
        raise InvalidRequest(
            "The SHA-256 that was sent is not the file's.",
            code="promote.mismatch",
            expected=sha256,
            actual=actual,
        )
    if item.status != ItemStatus.HELD or item.sha256 != actual:
        raise NotScanned("No scan of exactly these bytes has passed.")
    found_format = item.stages.get(name="format_gate").evidence.get("format")
    if found_format != kind:
        raise InvalidRequest(f"The file is {found_format}, not {kind}.", code="promote.format")
    if item.source != source:
        raise InvalidRequest("The file came from another source.", code="promote.source")
    return _promote(item=item, actor=actor, name=name)


def _item_at(path: str) -> QuarantineItem:
    """The item that `path` leads to: its bare id, or the path of its artifact."""
    parts = parts_below(Path(settings.QUARANTINE_DIR), path)
    if (len(parts) > 1 and parts[1] != "artifact") or len(parts) > 2:
        raise PathRefused("The path does not name a quarantined model.")
    try:
        found = QuarantineItem.objects.filter(pk=uuid.UUID(parts[0])).first()
    except ValueError:
        found = None
    if found is None:
        raise InvalidRequest("There is no such file in quarantine.", code="promote.missing")
    return found


# --- deleting, failing -------------------------------------------------------------------------------


def delete_model(*, artifact: Artifact, actor: str) -> None:
    """Remove a model: the row first, then its bytes if no other name uses them."""
    with store.locked():
        with transaction.atomic(durable=True):
            Artifact.objects.filter(pk=artifact.pk).delete()
            record(
                "registry.model:deleted",
                actor=actor,
                target=f"model:{artifact.name}",
                detail={"sha256": artifact.sha256},
            )
        if not Artifact.objects.filter(sha256=artifact.sha256).exists():
            store.remove(artifact.sha256)


def fail_model(*, artifact: Artifact, actual: str | None, why: str = "changed") -> bool:
    """Take a model out of use, and every other name of the same bytes; what there is goes back to quarantine.

    `actual` is the digest that was found, None for none; another scan of what goes back is held to the digest that
    was promoted, so changed bytes never return under the old one's name and source. The rows stay, as failed, so
    that whoever asks for the model learns why it is gone. False when somebody else did it before.
    """
    with store.locked():
        item = QuarantineItem(
            id=uuid.uuid4(), name=artifact.name, filename=artifact.name, sha256=actual or "",
            size_bytes=artifact.size_bytes, files=artifact.files, source=artifact.source,
            status=ItemStatus.REFUSED.value, submitted_by="service:registry", pin=artifact.sha256,
            reason=FAILED[why],
        )  # fmt: skip
        with transaction.atomic(durable=True):
            sound = Artifact.objects.filter(sha256=artifact.sha256, status="promoted")
            names_out = list(sound.values_list("name", flat=True))
            if not sound.update(status="failed"):
                return False
            for name in names_out:
                record(
                    "registry.model:integrity", actor="service:registry", target=f"model:{name}", outcome="failed",
                    detail={"expected": artifact.sha256, "actual": actual, "why": why},
                )  # fmt: skip
            if actual is not None:
                item.save(force_insert=True)
        if actual is not None:
            store.take_out(artifact.sha256, item.file)
        elif why == "missing":
            store.remove(artifact.sha256)
    return True


def finish_failures() -> int:
    """Move the bytes of models that a crash left in the store after they had failed; returns how many."""
    moved = 0
    with store.locked():
        for item in QuarantineItem.objects.filter(
            submitted_by="service:registry", status=ItemStatus.REFUSED.value
        ):
            failed = Artifact.objects.filter(name=item.name, status="failed").first()
            if failed is None or item.file.exists():
                continue
            if not Artifact.objects.filter(sha256=failed.sha256, status="promoted").exists():
                moved += store.take_out(failed.sha256, item.file)
    return moved


FAILED = {
    "changed": "Its bytes changed after it was promoted, so it came back to quarantine.",
    "record": "Its promotion record is not one that this box made, so it came back to quarantine.",
    "missing": "Its file is gone.",
    "unreadable": "Its file cannot be read any more.",
}
