"""The behaviour test on real models, in the real isolated engine: ordinary models pass."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from registry.lifecycle import Verdict
from registry.policy import Policy
from registry.quarantine.inspect import inspect_file
from registry.quarantine.stages.base import Subject, SubjectFile
from registry.quarantine.stages.behavior import Behavior
from tests.support.real_models import base_model, chat_model, embedding_model

pytestmark = pytest.mark.e2e


@contextmanager
def under_scan(model: Path, folder: Path) -> Iterator[Subject]:
    """The model as the stages before this one leave it."""
    path = folder / "artifact"
    shutil.copyfile(model, path)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = path.stat().st_size
        yield Subject(
            folder=folder, path=path, files=(SubjectFile(model.name, descriptor, digest, size),), is_set=False,
            name="model", filename=model.name, source="local", sha256=digest, size_bytes=size, policy=Policy(),
            inspection=inspect_file(descriptor, manifest=False),
        )  # fmt: skip
    finally:
        os.close(descriptor)


def test_the_bundled_chat_model_passes_and_is_graded(tmp_path: Path) -> None:
    with under_scan(chat_model(), tmp_path) as subject:
        found = Behavior().examine(subject)
    assert found.verdict is Verdict.PASS, found.reason
    assert found.evidence["integrity"]["ran"] >= 40
    assert 0 <= found.evidence["conduct"]["grade"] <= 100
    assert found.evidence["conduct"]["graded"] >= 40
    assert len(json.dumps(found.evidence)) < 64 * 1024


def test_a_base_model_passes_without_a_grade(tmp_path: Path) -> None:
    with under_scan(base_model(), tmp_path) as subject:
        found = Behavior().examine(subject)
    assert found.verdict is Verdict.PASS, found.reason
    assert found.evidence["integrity"]["ran"] >= 20
    assert found.evidence["conduct"]["grade"] is None


def test_the_embedding_model_passes_and_knows_what_is_alike(tmp_path: Path) -> None:
    with under_scan(embedding_model(), tmp_path) as subject:
        found = Behavior().examine(subject)
    assert found.verdict is Verdict.PASS, found.reason
    assert [check["outcome"] for check in found.evidence["integrity"]["checks"]] == ["pass", "pass"]
    assert found.evidence["conduct"]["grade"] is None
