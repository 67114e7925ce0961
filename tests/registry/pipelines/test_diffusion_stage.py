"""Stage 7 on what the real child of the format gate found, and the way of a zip up to there."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from registry.lifecycle import Verdict
from registry.policy import Policy
from registry.quarantine.formats.members import Member
from registry.quarantine.inspect import Inspection, inspect_files
from registry.quarantine.stages.base import StageVerdict, Subject
from registry.quarantine.stages.diffusion import Diffusion
from registry.quarantine.unpack import looks_like_set, unpack
from tests.support.pipelines import benign, hostile, opened, sd15
from tests.support.zips import zipped

BENIGN = benign()
HOSTILE = {case.name: case for case in hostile()}
# one per group of rules, through the child
AT_THE_GATE = (
    "file unet/diffusion_pytorch_model.bin", "file pipeline.py", "file UNET/config.json", "settings: duplicate key",
    "settings: nested beyond the stack", "weights that are a pickle", "weights with a tail",
    "shard index names outside", "tokenizer of a million lists", "sentencepiece pickle",
)  # fmt: skip
AT_THE_STAGE = (
    "part os.system", "unknown pipeline", "settings say auto_map", "address in escapes", "tokenizer opens a file",
    "number: wider than its weights",
)  # fmt: skip


def inspected(members: Sequence[Member]) -> Inspection:
    return inspect_files(members, is_set=True)


def judged(inspection: Inspection | None) -> StageVerdict:
    """What the stage says of a subject that the format gate has looked at."""
    subject = Subject(
        folder=Path("/"), path=Path("/"), files=(), is_set=True, name="tiny", filename="tiny", source="local",
        sha256="0" * 64, size_bytes=1, policy=Policy(), inspection=inspection,
    )  # fmt: skip
    return Diffusion().examine(subject)


def with_facts(**facts: Any) -> Inspection:
    return Inspection("pass", "diffusion", "Fine", "inspector.pass", facts=facts)


@pytest.mark.parametrize("name", ["sd15", "sdxl", "sd3", "flux", "ddpm"])
def test_an_ordinary_pipeline_passes_gate_and_stage(name: str, tmp_path: Path) -> None:
    with opened(tmp_path, BENIGN[name]) as members:
        found = inspected(members)
    assert (found.verdict, found.format) == ("pass", "diffusion"), found.reason
    verdict = judged(found)
    assert verdict.verdict is Verdict.PASS
    assert verdict.evidence["pipeline"] == found.facts["architecture"]
    assert verdict.evidence["files"] == len(BENIGN[name])
    assert verdict.evidence["bytes"] == sum(map(len, BENIGN[name].values()))
    assert all(set(one) == {"name", "library", "class"} for one in verdict.evidence["components"])


@pytest.mark.parametrize("name", AT_THE_GATE)
def test_what_breaks_the_form_is_refused_by_the_child(name: str, tmp_path: Path) -> None:
    case = HOSTILE[name]
    with opened(tmp_path, case.files) as members:
        found = inspected(members)
    assert (found.verdict, found.code) == ("refuse", case.code), found.reason
    assert judged(found).verdict is not Verdict.PASS


@pytest.mark.parametrize("name", AT_THE_STAGE)
def test_what_asks_for_more_than_pictures_is_refused_by_the_stage(name: str, tmp_path: Path) -> None:
    case = HOSTILE[name]
    with opened(tmp_path, case.files) as members:
        found = inspected(members)
    assert found.verdict == "pass", found.reason
    verdict = judged(found)
    assert verdict.verdict is Verdict.REFUSE
    assert verdict.evidence["findings"][0]["code"] == case.code
    assert verdict.evidence["findings"][0]["text"] in verdict.reason
    assert verdict.reason.endswith(".")


def test_a_zip_goes_the_whole_way(tmp_path: Path) -> None:
    (tmp_path / "upload").write_bytes(zipped(sd15(), "tiny/"))
    descriptor = os.open(tmp_path / "upload", os.O_RDONLY)
    try:
        assert looks_like_set(descriptor)
        paths = unpack(descriptor, tmp_path / "out")
    finally:
        os.close(descriptor)
    members = [Member(path, os.open(tmp_path / "out" / path, os.O_RDONLY)) for path in paths]
    try:
        assert judged(inspected(members)).verdict is Verdict.PASS
    finally:
        for member in members:
            os.close(member.fd)


def test_the_first_findings_are_told_and_the_others_counted() -> None:
    findings = [{"code": "settings.code", "file": f"{n}.json", "text": f"Number {n}"} for n in range(5)]
    verdict = judged(with_facts(pipeline_findings=findings, components=[{"name": "vae"}]))
    assert verdict.reason == "Number 0 (in 0.json). Number 1 (in 1.json). Number 2 (in 2.json); and 2 more."
    assert verdict.evidence["findings"] == findings


@pytest.mark.parametrize("kind", ["gguf", "safetensors"])
def test_a_model_of_another_kind_is_none_of_its_business(kind: str) -> None:
    verdict = judged(Inspection("pass", kind, "Fine", "inspector.pass", facts={"architecture": "llama"}))
    assert verdict.verdict is Verdict.NOT_APPLICABLE


def test_without_an_inspection_it_says_nothing() -> None:
    assert judged(None).verdict is Verdict.NOT_APPLICABLE


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"components": [{"name": "vae"}]},
        {"pipeline_findings": []},
        {"pipeline_findings": "none", "components": [1]},
    ],
)
def test_a_pipeline_without_findings_in_its_facts_was_not_examined(facts: dict[str, Any]) -> None:
    assert judged(with_facts(**facts)).verdict is Verdict.INCONCLUSIVE
