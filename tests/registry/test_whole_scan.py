"""Every class of hostile file through the whole pipeline, as its job runs it: refused at the right stage, in words.

Each set of cases goes in full through its own stage in that stage's test file. Through all stages goes one of each
kind: of every generator the first case of each group of codes, which is a code without its last word
(`gguf.tensor` of `gguf.tensor.offset`), and of what rules and picture pipelines find, of each code; all good files,
and of the good templates one of each family. Only the behaviour stage is scripted: files of a few
hundred bytes do not run.
"""

import os
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import pytest
from django.conf import settings

from registry import intake
from registry.jobs import scan_item
from registry.lifecycle import STAGES
from registry.models import Artifact, QuarantineItem, StageResult
from registry.quarantine import scan as scanning
from registry.quarantine.stages.base import passed
from registry.quarantine.stages.behavior import Behavior
from registry.quarantine.unpack import UnpackRefused, looks_like_set
from secai_site.kernel.jobs.models import Job
from secai_site.kernel.jobs.worker import JobContext
from tests.support import chat_templates, hostile_models, hostile_sets, pipelines, planted, zips
from tests.support.builders import ScriptedStage, incoming
from tests.support.hostile_models import STRING, kv, with_keys

pytestmark = pytest.mark.django_db

Files = Mapping[str, bytes]


class Coded(Protocol):
    """A hostile case of any generator."""

    @property
    def code(self) -> str: ...


AnyCase = TypeVar("AnyCase", bound=Coded)


@dataclass(frozen=True)
class Upload:
    """What somebody drops on the box: one file under the path "", or a folder; and where it must end, and why."""

    name: str
    files: Files
    stage: str = ""
    code: str = ""


def of_case(case: hostile_models.Case, stage: str = "") -> Upload:
    return Upload(case.name, case.files or {"": case.data}, stage, case.code)


def of_template(case: chat_templates.TemplateCase, stage: str = "") -> Upload:
    template = kv("tokenizer.chat_template", STRING, case.source.encode(errors="surrogatepass"))
    return Upload(f"template: {case.name}", {"": with_keys(template)}, stage, case.code)


def of_pipeline(case: pipelines.PipelineCase) -> Upload:
    return Upload(f"pipeline: {case.name}", case.files, case.stage, case.code)


MALFORMED = [*hostile_models.hostile(), *planted.broken_weights()]
SETS = list(hostile_sets.hostile_sets())
PLANTED = list(planted.planted())
TEMPLATES = list(chat_templates.hostile())
PIPELINES = list(pipelines.hostile())
ZIPS = list(zips.hostile_zips())
GOOD_FILES = [*hostile_models.benign(), *hostile_sets.benign_sets(), *planted.innocent()]
GOOD_TEMPLATES = list(chat_templates.benign())
GOOD_PIPELINES = pipelines.benign()


def group(case: Coded) -> str:
    """A code without its last word; a code of two words is a group of its own."""
    words = case.code.split(".")
    return ".".join(words[:-1] if len(words) > 2 else words)


def first_of_each(cases: Iterable[AnyCase], kind: Callable[[AnyCase], str]) -> list[AnyCase]:
    """The first case of each kind, in their order."""
    found: dict[str, AnyCase] = {}
    for case in cases:
        found.setdefault(kind(case), case)
    return list(found.values())


def arrives(files: Files) -> bool:
    """Whether this is taken in as a set, by its names and number; what is not never gets as far as a scan."""
    names = [part for path in files for part in path.split("/")]
    plain = all(name.isprintable() and name not in ("", ".", "..") and len(name) < 256 for name in names)
    return plain and 1 < len(files) <= intake.MAX_FILES


def is_taken_apart(archive: zips.ZipCase) -> bool:
    """Whether it is unpacked on arrival; any other archive is one file, which the format gate names."""
    descriptor = os.memfd_create("archive")
    try:
        os.write(descriptor, archive.data)
        return looks_like_set(descriptor)
    finally:
        os.close(descriptor)


HOSTILE = [
    *(of_case(case, "format_gate") for case in first_of_each(MALFORMED, group)),
    *(of_case(case, "format_gate") for case in first_of_each(filter(lambda c: arrives(c.files), SETS), group)),
    *(Upload(f"zip: {case.name}", {"": case.data}, "format_gate") for case in ZIPS if not is_taken_apart(case)),
    *(of_case(case, "static_scan") for case in first_of_each(PLANTED, lambda case: case.code)),
    *(of_template(case, "static_scan") for case in first_of_each(TEMPLATES, group)),
    *map(of_pipeline, first_of_each(
        (case for case in PIPELINES if arrives(case.files)),
        lambda case: case.code if case.stage == "diffusion" else group(case),
    )),
]  # fmt: skip


# what is too large is a matter of the policy, whose limit is far above any file here
ARCHIVES = first_of_each(
    (case for case in ZIPS if is_taken_apart(case) and case.code != "archive.size"), lambda case: case.code
)


BENIGN = [
    *(of_case(case) for case in GOOD_FILES),
    *map(of_template, first_of_each(GOOD_TEMPLATES, lambda case: case.family or "")),
    *(Upload(f"pipeline: {name}", files) for name, files in GOOD_PIPELINES.items()),
]


@pytest.fixture(autouse=True)
def it_behaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """All stages are the real ones but the sixth, which passes."""
    behaves = ScriptedStage("behavior", passed("It does nothing that nobody asked for."))
    kinds = tuple(behaves if kind is Behavior else kind for kind in scanning.STAGES)
    monkeypatch.setattr(scanning, "STAGES", kinds)


def submitted(files: Files) -> QuarantineItem:
    """The upload in quarantine, as it is taken in."""
    if set(files) == {""}:
        path = incoming(files[""])
    else:
        path = uuid.uuid4().hex
        pipelines.write_files(Path(settings.QUARANTINE_DIR) / "incoming" / path, dict(files))
    return intake.submit(path=path, name="tiny", filename="tiny.gguf", source="local", actor="user:1")


def scanned(upload: Upload) -> QuarantineItem:
    """The upload after its job."""
    item = submitted(upload.files)
    scan_item(JobContext(Job.objects.get(subject=str(item.pk)), threading.Event()), item_id=str(item.pk))
    item.refresh_from_db()
    return item


def named(upload: Upload) -> str:
    return upload.name.encode("unicode_escape").decode()


def is_a_sentence(text: str) -> bool:
    return 15 <= len(text) <= 500 and text.isprintable() and text[-1] in ".!?…" and " " in text


def codes_of(stage: StageResult) -> list[str]:
    """What a refusal rests on: its code, or the codes of all that the template's or pipeline's review found."""
    findings = stage.evidence.get("template", {}).get("findings", []) + stage.evidence.get("findings", [])
    return [stage.evidence.get("code", ""), *(one["code"] for one in findings)]


def test_the_generators_cover_all_classes_in_number() -> None:
    assert len([*MALFORMED, *SETS, *PLANTED, *TEMPLATES, *PIPELINES, *ZIPS]) >= 800
    assert len([*GOOD_FILES, *GOOD_TEMPLATES, *GOOD_PIPELINES]) >= 90
    assert len(HOSTILE) >= 80
    assert len(BENIGN) >= 40
    assert {upload.stage for upload in HOSTILE} == {"format_gate", "static_scan", "diffusion"}


@pytest.mark.parametrize("upload", HOSTILE, ids=named)
def test_a_hostile_file_ends_at_the_right_stage_with_a_reason(upload: Upload) -> None:
    item = scanned(upload)
    assert item.status == "refused"
    stages = {stage.name: stage for stage in item.stages.all()}
    assert set(stages) == set(STAGES)
    blamed = stages[upload.stage]
    assert blamed.verdict == "refuse", (item.reason, {s.name: s.verdict for s in stages.values()})
    assert any(code.startswith(upload.code) for code in codes_of(blamed)), (item.reason, codes_of(blamed))
    assert item.reason == blamed.reason
    assert is_a_sentence(item.reason), item.reason
    assert not Artifact.objects.exists()
    assert list(Path(settings.MODELS_DIR).iterdir()) == []
    assert item.file.exists()


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda case: f"{case.code}: {case.name}")
def test_a_hostile_archive_is_refused_before_it_is_taken_in(archive: zips.ZipCase) -> None:
    with pytest.raises(UnpackRefused) as refusal:
        submitted({"": archive.data})
    assert is_a_sentence(refusal.value.message), refusal.value.message
    assert not QuarantineItem.objects.exists()


@pytest.mark.parametrize("upload", BENIGN, ids=named)
def test_a_good_model_is_promoted(upload: Upload) -> None:
    item = scanned(upload)
    assert item.status == "promoted", item.reason
    assert Artifact.objects.get().sha256 == item.sha256
