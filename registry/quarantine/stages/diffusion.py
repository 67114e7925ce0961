"""Stage 7: the parts of a picture pipeline, and what their settings ask for."""

from collections.abc import Mapping, Sequence
from typing import Any

from registry.quarantine.stages.base import (
    StageVerdict,
    Subject,
    inconclusive,
    not_applicable,
    passed,
    refused,
)

SHOWN = 3


class Diffusion:
    """Judges what the format gate's child found in the same bytes; one finding is enough to refuse."""

    name = "diffusion"
    version = "2"

    def examine(self, subject: Subject) -> StageVerdict:
        if subject.inspection is None or subject.inspection.format != "diffusion":
            return not_applicable("It is a text model, not a picture pipeline.")
        facts = subject.facts
        findings = facts.get("pipeline_findings")
        if not isinstance(findings, list) or not facts.get("components"):
            return inconclusive("The pipeline's settings were not examined, so it is refused.")
        evidence = _evidence(facts)
        if findings:
            return refused(_sentence(findings), findings=findings, **evidence)
        return passed(
            f"Its {len(evidence['components'])} parts are all known, and no setting asks for program code, an "
            "address or a size beyond reason.",
            **evidence,
        )


def _evidence(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "pipeline": facts.get("architecture"),
        "components": facts.get("components"),
        "files": facts.get("files"),
        "bytes": facts.get("bytes"),
        "notes": facts.get("pipeline_notes", []),
    }


def _sentence(findings: Sequence[Mapping[str, Any]]) -> str:
    """The first findings in words, each with its file, and how many more there are."""
    named = [f"{one['text']} (in {one['file']})" for one in findings[:SHOWN]]
    more = len(findings) - len(named)
    return ". ".join(named) + (f"; and {more} more." if more else ".")
