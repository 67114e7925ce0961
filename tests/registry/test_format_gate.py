"""The format gate and the integrity stage: what they say of files and sets, and what the policy has to say."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registry.lifecycle import Verdict
from registry.policy import BUNDLED, Policy
from registry.quarantine.stages import format_gate, integrity
from registry.quarantine.stages.base import Subject, SubjectFile
from registry.quarantine.stages.format_gate import FormatGate
from registry.quarantine.stages.integrity import Integrity
from secai_site.kernel.files import set_digest
from secai_site.kernel.jobs.worker import Cancelled
from tests.support.builders import flip_byte
from tests.support.hostile_models import small_gguf, small_safetensors
from tests.support.hostile_sets import called, gguf_set, safetensors_set
from tests.support.planted import elf, in_weights

POLICY = Policy()
Put = Callable[..., Subject]


@pytest.fixture
def put(tmp_path: Path) -> Iterator[Put]:
    """Lay files down and open them as a scan does."""
    with ExitStack() as opened:

        def lay(found: bytes | Mapping[str, bytes], **fields: Any) -> Subject:
            named = {"model": found} if isinstance(found, bytes) else found
            files = tuple(lay_one(path, data) for path, data in named.items())
            is_set = named is found
            subject = Subject(
                folder=tmp_path, path=tmp_path / "artifact", files=files, is_set=is_set, name="tiny",
                filename="tiny.gguf", source="local", policy=POLICY,
                sha256=set_digest((file.path, file.sha256) for file in files) if is_set else files[0].sha256,
                size_bytes=sum(file.size_bytes for file in files),
            )  # fmt: skip
            return replace(subject, **fields)

        def lay_one(path: str, data: bytes) -> SubjectFile:
            place = tmp_path / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
            descriptor = opened.enter_context(place.open("rb")).fileno()
            return SubjectFile(path, descriptor, hashlib.sha256(data).hexdigest(), len(data))

        yield lay


def test_a_model_in_one_file_passes_whatever_its_name(put: Put) -> None:
    subject = put(small_safetensors(), filename="model.gguf")
    verdict = FormatGate().examine(subject)
    assert verdict.verdict is Verdict.PASS
    assert verdict.reason == "It is a well-formed safetensors model."
    assert (verdict.evidence["format"], verdict.evidence["facts"]["tensor_count"]) == ("safetensors", 2)
    assert subject.inspection is not None
    assert subject.inspection.manifest is not None
    assert Integrity().examine(subject).verdict is Verdict.PASS


@pytest.mark.parametrize(("files", "kind"), [(gguf_set(), "gguf"), (safetensors_set(), "safetensors")])
def test_a_set_passes_as_one_model(files: dict[str, bytes], kind: str, put: Put) -> None:
    subject = put(files)
    assert FormatGate().examine(subject).evidence["format"] == kind
    verdict = Integrity().examine(subject)
    assert (verdict.verdict, verdict.reason) == (Verdict.PASS, "All bytes are the ones that arrived.")
    assert verdict.evidence == {
        "sha256": subject.sha256, "size_bytes": subject.size_bytes, "pinned": False
    }  # fmt: skip


def test_a_refusal_says_code_place_and_file(put: Put) -> None:
    files = gguf_set()
    verdict = FormatGate().examine(put(files | {called(1): files[called(1)] + b"\1"}))
    assert verdict.verdict is Verdict.REFUSE
    assert verdict.reason.endswith(f"(in {called(1)}).")
    assert verdict.evidence == {
        "code": "gguf.trailing", "file": called(1), "offset": verdict.evidence["offset"]
    }  # fmt: skip


def test_matches_are_left_to_the_static_scan(put: Put) -> None:
    subject = put(in_weights(elf()))
    assert FormatGate().examine(subject).verdict is Verdict.PASS
    assert subject.inspection is not None
    assert [match.code for match in subject.inspection.matches] == ["rules.elf_program"]


def test_a_model_beyond_the_size_of_the_policy_is_refused_unread(
    put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(format_gate, "inspect_files", None)
    verdict = FormatGate().examine(put(small_gguf(), policy=replace(POLICY, max_size_bytes=100)))
    assert (verdict.verdict, verdict.evidence["code"]) == (Verdict.REFUSE, "policy.size")
    assert "at most 100" in verdict.reason


def test_a_kind_that_the_policy_does_not_take_is_refused(put: Put) -> None:
    verdict = FormatGate().examine(put(small_gguf(), policy=replace(POLICY, formats=("safetensors",))))
    assert (verdict.verdict, verdict.evidence["code"]) == (Verdict.REFUSE, "policy.format")
    assert "facts" not in verdict.evidence


def test_a_refused_pickle_is_explained(put: Put) -> None:
    verdict = FormatGate().examine(put(b"cos\nsystem\n(S'id'\ntR."))
    assert (verdict.verdict, verdict.evidence["code"]) == (Verdict.REFUSE, "file.pickle")
    assert set(verdict.evidence["explanation"]) == {"summary", "would_do", "scanners"}
    assert verdict.evidence["explanation"]["would_do"]


@pytest.mark.parametrize("said", [None, {}, RuntimeError("a fault")])
def test_an_explanation_never_changes_the_verdict(
    said: object, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explain(_fd: int) -> object:
        if isinstance(said, Exception):
            raise said
        return said

    monkeypatch.setattr(format_gate, "explain", explain)
    verdict = FormatGate().examine(put(b"cos\nsystem\n(S'id'\ntR."))
    assert (verdict.verdict, verdict.evidence) == (Verdict.REFUSE, {"code": "file.pickle", "offset": 0})


def test_a_changed_byte_of_a_set_is_found_in_its_file(put: Put, tmp_path: Path) -> None:
    subject = put(gguf_set())
    FormatGate().examine(subject)
    flip_byte(tmp_path / called(1), 40)
    verdict = Integrity().examine(subject)
    assert (verdict.verdict, verdict.evidence["file"]) == (Verdict.REFUSE, called(1))
    assert verdict.evidence["expected"] == subject.files[1].sha256 != verdict.evidence["actual"]
    assert called(1) in verdict.reason


def test_a_file_that_grew_is_refused(put: Put, tmp_path: Path) -> None:
    subject = put(small_gguf())
    os.truncate(tmp_path / "model", 10_000)
    assert Integrity().examine(subject).verdict is Verdict.REFUSE


def test_a_set_under_another_digest_is_refused(put: Put) -> None:
    verdict = Integrity().examine(put(gguf_set(), sha256="0" * 64))
    assert (verdict.verdict, verdict.evidence["expected"]) == (Verdict.REFUSE, "0" * 64)


def test_bytes_other_than_the_inspected_are_refused(put: Put, tmp_path: Path) -> None:
    subject, other = put(small_gguf()), put({"a/model": b"{}", **gguf_set()})
    FormatGate().examine(subject)
    other.inspection = subject.inspection
    verdict = Integrity().examine(other)
    assert (verdict.verdict, verdict.reason) == (
        Verdict.REFUSE, "The file changed while it was being inspected.",
    )  # fmt: skip


@pytest.mark.parametrize("found", [small_gguf(), gguf_set()], ids=["file", "set"])
def test_a_pin_holds(found: Any, put: Put) -> None:
    right = put(found)
    verdict = Integrity().examine(replace(right, pin=right.sha256))
    assert (verdict.verdict, verdict.evidence["pinned"]) == (Verdict.PASS, True)
    wrong = Integrity().examine(replace(right, pin="1" * 64))
    assert (wrong.verdict, wrong.evidence) == (
        Verdict.REFUSE, {"expected": "1" * 64, "actual": right.sha256},
    )  # fmt: skip
    assert "1" * 64 in wrong.reason
    assert right.sha256 in wrong.reason


def test_what_ships_with_the_box_has_its_own_pin(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    source = next(iter(BUNDLED))
    verdict = Integrity().examine(put(small_gguf(), source=source))
    assert (verdict.verdict, verdict.evidence["expected"]) == (Verdict.REFUSE, BUNDLED[source])
    right = put(small_gguf())
    monkeypatch.setattr(integrity, "BUNDLED", {source: right.sha256})
    verdict = Integrity().examine(replace(right, source=source))
    assert (verdict.verdict, verdict.evidence["pinned"]) == (Verdict.PASS, True)


@pytest.mark.parametrize("stage", [FormatGate, Integrity])
def test_a_scan_that_is_cancelled_stops_at_once(
    stage: type[FormatGate | Integrity], put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancel(_share: float) -> None:
        raise Cancelled

    def slow(_descriptor: int, progress: Callable[[int], None]) -> str:
        while True:
            progress(1)

    monkeypatch.setattr(integrity, "sha256_of", slow)
    with pytest.raises(Cancelled):
        stage().examine(put(small_gguf(), progress=cancel))
