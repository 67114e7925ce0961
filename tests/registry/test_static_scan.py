"""The static scan: what it makes of rules, template and second opinion, and the evidence that the pages show."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from registry.lifecycle import Verdict
from registry.policy import Policy
from registry.quarantine import rules
from registry.quarantine.formats.manifest import FileDigest, Manifest
from registry.quarantine.inspection import Inspection
from registry.quarantine.rules import Match
from registry.quarantine.stages import static_scan
from registry.quarantine.stages.base import StageVerdict, Subject
from registry.quarantine.stages.static_scan import StaticScan
from registry.quarantine.templates import TemplateReview
from tests.support.chat_templates import CHATML, chatml

MANIFEST = Manifest.of([FileDigest("", "a" * 64, 10, None, ())])
BASICS = {"fingerprint", "merkle_root", "chat", "purpose", "statistics"}
OWN_FAMILY = "{% for m in messages %}#{{ m['role'] }}# {{ m['content'] }}~~{% endfor %}#assistant# "


@pytest.fixture(autouse=True)
def no_second_opinion(monkeypatch: pytest.MonkeyPatch) -> None:
    """No second scanner is installed."""
    monkeypatch.setattr(static_scan, "second_opinion", lambda _path: None)


@pytest.fixture
def examined(tmp_path: Path) -> Any:
    """`examined(facts, …)` is what the stage says of a model whose inspection found that."""

    def examine(
        facts: Mapping[str, Any] | None = None,
        *,
        policy: Policy | None = None,
        kind: str = "gguf",
        **found: Any,
    ) -> StageVerdict:
        said: dict[str, Any] = {"facts": facts or {"architecture": "llama"}, "manifest": MANIFEST} | found
        inspection = Inspection("pass", kind, "Fine.", "ok", fingerprint="b" * 64, **said)
        return StaticScan().examine(Subject(
            folder=tmp_path, path=tmp_path / "artifact", files=(), is_set=False, name="tiny", filename="tiny.gguf",
            source="local", sha256="c" * 64, size_bytes=10, policy=policy or Policy(), inspection=inspection,
        ))  # fmt: skip

    return examine


def test_a_model_with_a_sound_template_passes(examined: Any, tmp_path: Path) -> None:
    verdict = examined({"chat_template": CHATML}, statistics={"tensors": 3})
    assert verdict.verdict is Verdict.PASS
    assert "chat template is sound" in verdict.reason
    assert set(verdict.evidence) == BASICS | {"rules", "template", "template_sha256"}
    assert verdict.evidence["fingerprint"] == "b" * 64
    assert verdict.evidence["merkle_root"] == MANIFEST.root
    assert (verdict.evidence["chat"], verdict.evidence["purpose"]) == (True, "chat")
    assert verdict.evidence["statistics"] == {"tensors": 3}
    assert verdict.evidence["rules"] == {"version": rules.version(), "matches": []}
    template = verdict.evidence["template"]
    assert set(template) == {"family", "nearest", "sha256", "findings", "diff", "literals"}
    assert (template["family"], template["findings"]) == ("ChatML", [])
    assert template["sha256"] == verdict.evidence["template_sha256"]
    assert Manifest.read(tmp_path / "manifest.json") == MANIFEST


@pytest.mark.parametrize(
    ("kind", "facts", "purpose", "words"),
    [
        ("gguf", {"architecture": "llama"}, "completion", "completes texts"),
        ("gguf", {"architecture": "bert"}, "embedding", "vectors"),
        ("diffusion", {"pipeline": "x"}, "pictures", "Nothing in it is out of place"),
        ("safetensors", {"tensor_count": 2}, "weights", "no engine of this box"),
    ],
)
def test_a_model_without_a_template_is_told_what_it_is_for(
    examined: Any, kind: str, facts: dict[str, Any], purpose: str, words: str
) -> None:
    verdict = examined(facts, kind=kind)
    assert verdict.verdict is Verdict.PASS
    assert words in verdict.reason
    assert set(verdict.evidence) == BASICS | {"rules"}
    assert (verdict.evidence["chat"], verdict.evidence["purpose"]) == (False, purpose)


# --- rules -------------------------------------------------------------------------------------------


def test_a_rule_that_matches_refuses_with_what_and_where(examined: Any) -> None:
    matches = (
        Match("elf", "a program for Linux", "unet/a\u202e.bin", 12345),
        Match("zip", "an archive", "", 1),
    )
    verdict = examined({"chat_template": CHATML}, matches=matches)
    assert verdict.verdict is Verdict.REFUSE
    assert "a program for Linux, at byte 12,345 of “unet/a\\u202e.bin”" in verdict.reason
    assert verdict.evidence["code"] == "rules.elf"
    assert verdict.evidence["rules"]["matches"] == [
        {"rule": "elf", "meaning": "a program for Linux", "file": "unet/a\\u202e.bin", "offset": 12345},
        {"rule": "zip", "meaning": "an archive", "file": "", "offset": 1},
    ]
    assert "template" not in verdict.evidence


def test_in_a_single_file_the_place_needs_no_name(examined: Any) -> None:
    verdict = examined(matches=(Match("elf", "a program for Linux", "", 0),))
    assert verdict.reason.endswith("a program for Linux, at byte 0.")


def test_of_many_matches_the_first_are_kept(examined: Any) -> None:
    matches = tuple(Match("elf", "a program", "x" * 900, n) for n in range(200))
    verdict = examined(matches=matches)
    assert len(verdict.evidence["rules"]["matches"]) == static_scan.SHOWN
    assert len(verdict.reason) < 500


# --- the template ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "facts",
    [
        {"chat_template": chatml("{{ ''.__class__ }}")},
        {"chat_template": CHATML, "templates": {"tool_use": chatml("{{ ''.__class__ }}")}},
        {"templates": {"tool_use": chatml("{{ ''.__class__ }}")}},
        {"chat_template": "{% for"},
        {"chat_template": "x" * (4 << 20)},
    ],
    ids=["hostile", "a hostile named one", "a hostile named one alone", "broken", "too long"],
)
def test_a_hostile_template_is_refused_with_its_findings(examined: Any, facts: dict[str, Any]) -> None:
    verdict = examined(facts)
    assert verdict.verdict is Verdict.REFUSE
    assert verdict.evidence["code"].startswith("template.")
    first = verdict.evidence["template"]["findings"][0]
    assert set(first) == {"code", "text", "line"}
    assert first["code"] == verdict.evidence["code"]
    assert verdict.reason
    assert set(verdict.evidence) == BASICS | {"rules", "template", "template_sha256", "code"}


@pytest.mark.parametrize(
    ("said", "verdict"), [("refuse", Verdict.REFUSE), ("inconclusive", Verdict.INCONCLUSIVE)]
)
def test_a_review_that_comes_to_nothing_does_not_pass(
    examined: Any, monkeypatch: pytest.MonkeyPatch, said: Any, verdict: Verdict
) -> None:
    review = TemplateReview(said, "It \u202e broke off.", "template.crash", "d" * 64)
    monkeypatch.setattr(static_scan, "review", lambda _templates, unknown: review)
    found = examined({"chat_template": CHATML})
    assert (found.verdict, found.reason) == (verdict, "It \\u202e broke off.")
    assert found.evidence["code"] == "template.crash"


def test_whether_unknown_families_pass_is_the_policys_to_say(examined: Any) -> None:
    assert examined({"chat_template": OWN_FAMILY}).verdict is Verdict.PASS
    strict = Policy(unknown_templates="refuse")
    verdict = examined({"chat_template": OWN_FAMILY}, policy=strict)
    assert verdict.verdict is Verdict.REFUSE
    assert verdict.evidence["template"]["family"] is None
    assert verdict.evidence["template"]["nearest"]["name"]
    assert examined({"chat_template": CHATML}, policy=strict).verdict is Verdict.PASS


# --- the second opinion ------------------------------------------------------------------------------


def opinion(verdict: str) -> dict[str, Any]:
    return {"name": "modelaudit", "verdict": verdict, "findings": ["something"]}


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ("critical", Verdict.REFUSE),
        ("clean", Verdict.PASS),
        ("warning", Verdict.PASS),
        ("failed", Verdict.PASS),
    ],
)
def test_a_second_opinion_can_only_refuse(
    examined: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str, verdict: Verdict
) -> None:
    opinions = {tmp_path / "artifact": opinion(said)}
    monkeypatch.setattr(static_scan, "second_opinion", opinions.__getitem__)
    found = examined()
    assert found.verdict is verdict
    assert found.evidence["second_opinion"] == opinion(said)
    if verdict is Verdict.REFUSE:
        assert found.evidence["code"] == "second_opinion.critical"


def test_a_clean_second_opinion_saves_nothing_that_was_refused(
    examined: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(static_scan, "second_opinion", lambda _path: opinion("clean"))
    verdict = examined(matches=(Match("elf", "a program", "", 0),))
    assert verdict.verdict is Verdict.REFUSE
    assert "second_opinion" not in verdict.evidence


# --- nothing to go by --------------------------------------------------------------------------------


def test_without_the_digests_nothing_passes(examined: Any, tmp_path: Path) -> None:
    verdict = examined(manifest=None)
    assert verdict.verdict is Verdict.INCONCLUSIVE
    assert not (tmp_path / "manifest.json").exists()


def test_without_an_inspection_nothing_passes(tmp_path: Path) -> None:
    subject = Subject(
        folder=tmp_path, path=tmp_path / "artifact", files=(), is_set=False, name="tiny", filename="tiny.gguf",
        source="local", sha256="c" * 64, size_bytes=10, policy=Policy(),
    )  # fmt: skip
    assert StaticScan().examine(subject).verdict is Verdict.INCONCLUSIVE
