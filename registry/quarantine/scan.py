"""One pass through the stages: in order, each verdict kept as it falls, the first refusal ends it."""

import contextlib
import logging
import os
import time
from collections.abc import Callable

from django.conf import settings
from django.db import transaction

from registry import policies
from registry.lifecycle import LETS_THROUGH, ItemStatus
from registry.models import QuarantineItem, StageResult
from registry.policy import Policy
from registry.quarantine.stages.base import Stage, StageVerdict, Subject, SubjectFile, inconclusive
from registry.quarantine.stages.behavior import Behavior
from registry.quarantine.stages.diffusion import Diffusion
from registry.quarantine.stages.format_gate import FormatGate
from registry.quarantine.stages.integrity import Integrity
from registry.quarantine.stages.provenance import Provenance
from registry.quarantine.stages.source_policy import SourcePolicy
from registry.quarantine.stages.static_scan import StaticScan
from registry.services import move_item
from secai_site.kernel.errors import ServiceError
from secai_site.kernel.files import open_below
from secai_site.kernel.jobs.worker import Cancelled, JobContext

log = logging.getLogger(__name__)

STAGES: tuple[type[Stage], ...] = (
    SourcePolicy, FormatGate, Integrity, Provenance, StaticScan, Behavior, Diffusion,
)  # fmt: skip


def versions() -> dict[str, str]:
    """The version of each stage as it would run now."""
    return {stage.name: stage.version for stage in STAGES}


def scan(item: QuarantineItem, context: JobContext) -> bool:
    """Take `item` through all stages and leave it held or refused; True when every stage let it through."""
    move_item(item, ItemStatus.SCANNING, actor="service:jobs")
    _reset(item)
    policy, item.policy_version = policies.current()
    QuarantineItem.objects.filter(pk=item.pk).update(policy_version=item.policy_version)
    with contextlib.ExitStack() as opened:
        try:
            subject = _subject(item, policy, opened)
        except ServiceError as error:
            move_item(
                item, ItemStatus.REFUSED, actor="service:jobs", reason=f"It cannot be read: {error.message}"
            )
            return False
        for position, kind in enumerate(STAGES):
            stage = kind()
            subject.progress = _progress_of(context, position, stage.name)
            subject.progress(0)
            verdict = _examine(stage, subject, item, position)
            if verdict.verdict not in LETS_THROUGH:
                move_item(
                    item, ItemStatus.REFUSED, actor="service:jobs", reason=verdict.reason, stage=stage.name
                )
                return False
    move_item(item, ItemStatus.HELD, actor="service:jobs", reason="It passed every check.")
    return True


def _subject(item: QuarantineItem, policy: Policy, opened: contextlib.ExitStack) -> Subject:
    """Open everything that is to be examined, once; what is checked is what was opened."""

    def open_file(path: str) -> int:
        descriptor = open_below(settings.QUARANTINE_DIR, f"{item.pk}/{path}")
        opened.callback(os.close, descriptor)
        return descriptor

    one = {"path": item.filename, "sha256": item.sha256, "size_bytes": item.size_bytes}
    files = tuple(
        SubjectFile(
            file["path"], open_file(f"artifact/{file['path']}" if item.files else "artifact"),
            file["sha256"], file["size_bytes"],
        )
        for file in item.files or [one]
    )  # fmt: skip
    return Subject(
        folder=item.folder,
        path=item.file,
        files=files,
        is_set=bool(item.files),
        name=item.name,
        filename=item.filename,
        source=item.source,
        sha256=item.sha256,
        size_bytes=item.size_bytes,
        policy=policy,
        pin=item.pin,
        signature=open_file("signature") if item.signature.exists() else None,
    )


def _progress_of(context: JobContext, position: int, name: str) -> Callable[[float], None]:
    """A stage's progress as its share of the whole scan, under the stage's name."""
    return lambda fraction: context.progress((position + fraction) / len(STAGES), name)


@transaction.atomic
def _reset(item: QuarantineItem) -> None:
    item.stages.all().delete()
    StageResult.objects.bulk_create(
        StageResult(item=item, position=n, name=kind.name, version=kind.version, sha256=item.sha256)
        for n, kind in enumerate(STAGES)
    )


def _examine(stage: Stage, subject: Subject, item: QuarantineItem, position: int) -> StageVerdict:
    started = time.monotonic()
    verdict = _guarded(stage, subject)
    StageResult.objects.filter(item=item, position=position).update(
        verdict=verdict.verdict.value, reason=verdict.reason[:500], evidence=verdict.evidence,
        duration_ms=int((time.monotonic() - started) * 1000),
    )  # fmt: skip
    return verdict


def _guarded(stage: Stage, subject: Subject) -> StageVerdict:
    try:
        return stage.examine(subject)
    except Cancelled:
        raise
    except ServiceError as error:
        return inconclusive(error.message, code=error.error_code)
    except Exception:
        log.exception("stage %s failed", stage.name)
        return inconclusive(
            "This check could not be done, so the file is refused. The operator finds why in the log."
        )
