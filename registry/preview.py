"""What a policy would say of models that were scanned before, from what their scans found. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from registry.policy import Policy, admit_source
from secai_site.kernel.decisions import Deny


@dataclass(frozen=True, slots=True)
class Scanned:
    """A model as its last scan saw it: `evidence` by stage."""

    name: str
    status: str
    source: str
    size_bytes: int
    evidence: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Effect:
    """What a new policy changes for one model: `objections` before and after, as sentences."""

    name: str
    status: str
    before: tuple[str, ...]
    after: tuple[str, ...]


def objections(scanned: Scanned, policy: Policy) -> tuple[str, ...]:
    """Why `policy` would refuse it, as far as its scan had come; what was not looked at yet is no objection."""
    found: list[str] = []
    decision = admit_source(scanned.source, policy)
    if isinstance(decision, Deny):
        found.append(decision.reason)
    if scanned.size_bytes > policy.max_size_bytes:
        found.append("It is larger than the policy takes.")
    kind = scanned.evidence.get("format_gate", {}).get("format")
    if kind and kind not in policy.formats:
        found.append(f"The policy does not take {kind}.")
    provenance = scanned.evidence.get("provenance", {})
    if (
        policy.signature == "required"
        and provenance
        and not (provenance.get("signed") or provenance.get("pinned"))
    ):
        found.append("It is not signed by a key that this box trusts.")
    template = scanned.evidence.get("static_scan", {}).get("template")
    if policy.unknown_templates == "refuse" and template and not template.get("family"):
        found.append("Its chat template is of no known family.")
    grade = scanned.evidence.get("behavior", {}).get("conduct", {}).get("grade")
    if policy.conduct_minimum is not None and grade is not None and grade < policy.conduct_minimum:
        found.append(f"Its conduct is graded {grade}, below {policy.conduct_minimum}.")
    return tuple(found)


def effects(scanned: list[Scanned], old: Policy, new: Policy) -> list[Effect]:
    """The models for which the two policies do not say the same, in their order."""
    both = [(one, objections(one, old), objections(one, new)) for one in scanned]
    return [Effect(one.name, one.status, before, after) for one, before, after in both if before != after]
