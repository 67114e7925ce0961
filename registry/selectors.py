"""Reading the registry: rows as the records of its contract."""

from datetime import UTC, datetime
from typing import Any

from registry.contract import ModelRecord, QuarantineRecord, StageRecord
from registry.lifecycle import ItemStatus
from registry.models import Artifact, QuarantineItem, StageResult
from registry.names import FORM, key_of
from registry.preview import Scanned
from registry.purpose import purpose_of
from registry.record import is_record_of
from secai_site.kernel.auth.models import User
from secai_site.kernel.errors import NotFound
from secai_site.kernel.jobs.models import Job, JobState


def model_record(row: Artifact) -> ModelRecord:
    """The public form of a promoted model."""
    facts: dict[str, Any] = row.facts
    return {
        "name": row.name, "path": row.path, "sha256": row.sha256, "format": row.format, "source": row.source,
        "status": _status(row), "promoted_at": _rfc3339(row.promoted_at),
        "gguf_guard_fingerprint": row.gguf_guard_fingerprint or None,
        "gguf_guard_manifest": row.gguf_guard_manifest or None,
        "size_bytes": row.size_bytes, "architecture": facts.get("architecture"),
        "quantization": facts.get("quantization"), "parameters": facts.get("parameters"),
        "context_length": facts.get("context_length"), "license": facts.get("license"),
        "purpose": facts.get("purpose") or purpose_of(row.format, facts).value,
        "chat": bool(facts.get("chat")), "files": row.files, "facts": facts, "scan": row.scan,
    }  # fmt: skip


def _status(row: Artifact) -> str:
    """Promoted only with a record that this box made of exactly these bytes; a forged row is out of use at once."""
    genuine = row.is_sound and is_record_of(row.record, name=row.name, sha256=row.sha256)
    return "promoted" if genuine else "failed"


def all_models() -> list[ModelRecord]:
    """All promoted models, by name."""
    return [model_record(row) for row in Artifact.objects.all()]


def find_model(name: str) -> Artifact:
    """The model of this name, upper and lower case alike; raises `NotFound`."""
    row = Artifact.objects.filter(name_key=key_of(name)).first() if FORM.fullmatch(name) else None
    if row is None:
        raise NotFound(f"There is no model named “{name[:128]}” in the registry.", code="model.not_found")
    return row


def stage_record(row: StageResult) -> StageRecord:
    """The public form of a stage's verdict."""
    return {
        "name": row.name, "verdict": row.verdict, "reason": row.reason, "evidence": row.evidence,
        "duration_ms": row.duration_ms, "version": row.version,
    }  # fmt: skip


def item_record(item: QuarantineItem, progress: dict[str, Any] | None = None) -> QuarantineRecord:
    """The public form of a quarantined file."""
    return {
        "id": str(item.pk), "name": item.name, "filename": item.filename, "sha256": item.sha256,
        "size_bytes": item.size_bytes, "source": item.source, "status": item.status, "reason": item.reason,
        "progress": progress, "created_at": _rfc3339(item.created_at), "policy_version": item.policy_version,
        "files": item.files,
        "stages": [stage_record(stage) for stage in item.stages.all()],
    }  # fmt: skip


def open_items() -> list[QuarantineRecord]:
    """Files that are in quarantine now, newest first, with how far their scan is."""
    items = QuarantineItem.objects.exclude(status=ItemStatus.PROMOTED.value).prefetch_related("stages")
    running = {
        job.subject: {"fraction": job.progress, "stage": job.stage}
        for job in Job.objects.filter(kind="registry.scan", state=JobState.RUNNING.value)
    }
    return [item_record(item, running.get(str(item.pk))) for item in items]


def find_item(item_id: str) -> QuarantineItem:
    """One quarantined file; raises `NotFound`."""
    item = QuarantineItem.objects.prefetch_related("stages").filter(pk=item_id).first()
    if item is None:
        raise NotFound("There is no such file in quarantine.", code="quarantine.not_found")
    return item


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def find_job(job_id: str, user: User | None) -> Job:
    """A job that `user` asked for (operators and services see all); raises `NotFound`."""
    found = Job.objects.filter(pk=job_id, kind__startswith="registry.").first()
    if found is None or (user is not None and not user.is_operator and found.owner_id != user.pk):
        raise NotFound("There is no such job.", code="job.not_found")
    return found


def job_record(job: Job) -> dict[str, Any]:
    """The public form of a job."""
    return {
        "id": str(job.pk), "kind": job.kind, "state": job.state, "progress": job.progress, "stage": job.stage,
        "result": job.result, "error": job.error or None, "code": job.error_code or None,
    }  # fmt: skip


def scanned_models() -> list[Scanned]:
    """Promoted models, then what is in quarantine, as their last scans saw them."""
    promoted = [
        Scanned(
            row.name,
            row.status,
            row.source,
            row.size_bytes,
            {one["name"]: one["evidence"] for one in row.scan},
        )
        for row in Artifact.objects.all()
    ]
    waiting = QuarantineItem.objects.exclude(status=ItemStatus.PROMOTED.value).prefetch_related("stages")
    return promoted + [
        Scanned(
            item.name,
            item.status,
            item.source,
            item.size_bytes,
            {one.name: one.evidence for one in item.stages.all()},
        )
        for item in waiting
    ]
