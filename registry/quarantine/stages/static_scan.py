"""Stage 5: what can be seen without running it: the template as code, every tensor's digest, what does not belong."""

from collections.abc import Callable, Mapping
from typing import Any

from registry.models import MANIFEST
from registry.purpose import Purpose, purpose_of
from registry.quarantine import rules
from registry.quarantine.inspection import Inspection
from registry.quarantine.plain import plain
from registry.quarantine.second_opinion import second_opinion
from registry.quarantine.stages.base import StageVerdict, Subject, inconclusive, passed, refused
from registry.quarantine.templates import TemplateReview, review

SHOWN = 50
MOST_TEXT = 500

Look = Callable[[Subject, Inspection, dict[str, Any]], StageVerdict | None]


class StaticScan:
    """Judges what the inspection found, reviews the chat template, and keeps the tensors' digests.

    Each look adds to the evidence; the first that says no ends the stage.
    """

    name = "static_scan"
    version = "2"

    def examine(self, subject: Subject) -> StageVerdict:
        inspection = subject.inspection
        if inspection is None or inspection.manifest is None:
            return inconclusive("The digests of its tensors are missing, so it is not admitted.")
        inspection.manifest.write(subject.folder / MANIFEST)
        purpose = purpose_of(inspection.format, inspection.facts)
        evidence: dict[str, Any] = {
            "fingerprint": inspection.fingerprint, "merkle_root": inspection.manifest.root,
            "chat": purpose is Purpose.CHAT, "purpose": purpose.value, "statistics": dict(inspection.statistics),
        }  # fmt: skip
        for number, look in enumerate(LOOKS):
            subject.progress(number / len(LOOKS))
            if (verdict := look(subject, inspection, evidence)) is not None:
                return verdict
        return passed(SENTENCES[purpose], **evidence)


SENTENCES: Mapping[Purpose, str] = {
    Purpose.CHAT: "Its chat template is sound, nothing in it is out of place, and every tensor has its digest.",
    Purpose.COMPLETION: "It has no chat template: it completes texts and does not chat. Every tensor has its digest.",
    Purpose.EMBEDDING: "It turns texts into vectors and writes none. Every tensor has its digest.",
    Purpose.PICTURES: "Nothing in it is out of place, and every tensor has its digest.",
    Purpose.WEIGHTS: "These are weights that no engine of this box runs. Every tensor has its digest.",
}


def _match_rules(_subject: Subject, inspection: Inspection, evidence: dict[str, Any]) -> StageVerdict | None:
    found = [
        {"rule": one.rule, "meaning": one.meaning, "file": plain(one.file, 200), "offset": one.offset}
        for one in inspection.matches[:SHOWN]
    ]
    evidence["rules"] = {"version": rules.version(), "matches": found}
    if not found:
        return None
    first = found[0]
    where = f" of “{first['file']}”" if first["file"] else ""
    return refused(
        f"It holds something that has no business in a model: {first['meaning']}, at byte {first['offset']:,}{where}.",
        code=f"rules.{first['rule']}", **evidence,
    )  # fmt: skip


def _review_template(
    subject: Subject, inspection: Inspection, evidence: dict[str, Any]
) -> StageVerdict | None:
    templates = _templates(inspection.facts)
    if not templates:
        return None
    unknown = "refuse" if subject.policy.unknown_templates == "refuse" else "allow"
    found = review(templates, unknown=unknown)  # type: ignore[arg-type]
    evidence |= {"template_sha256": found.sha256, "template": found.evidence()}
    if found.passed:
        return None
    return _refusal(found, evidence)


def _templates(facts: Mapping[str, Any]) -> dict[str, str]:
    """The default template under "", and the named ones."""
    default = facts.get("chat_template")
    return ({"": default} if default else {}) | dict(facts.get("templates") or {})


def _refusal(found: TemplateReview, evidence: dict[str, Any]) -> StageVerdict:
    make = refused if found.verdict == "refuse" else inconclusive
    return make(plain(found.reason, MOST_TEXT), code=found.code, **evidence)


def _ask_for_a_second_opinion(
    subject: Subject, _inspection: Inspection, evidence: dict[str, Any]
) -> StageVerdict | None:
    opinion = second_opinion(subject.path)
    if opinion is None:
        return None
    evidence["second_opinion"] = opinion
    if opinion["verdict"] != "critical":
        return None
    return refused(
        "The second scanner of this box calls it critical; what it found is below.",
        code="second_opinion.critical", **evidence,
    )  # fmt: skip


LOOKS: tuple[Look, ...] = (_match_rules, _review_template, _ask_for_a_second_opinion)
