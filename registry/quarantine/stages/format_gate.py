"""Stage 2: is it, by its content, a whole and well-formed model, of a kind and size that the policy takes?"""

from typing import Any

from registry.policy import Policy
from registry.quarantine.explain import explain
from registry.quarantine.formats.members import Member
from registry.quarantine.inspect import inspect_files
from registry.quarantine.inspection import Inspection
from registry.quarantine.stages.base import StageVerdict, Subject, inconclusive, passed, refused

TITLES = {"gguf": "GGUF model", "safetensors": "safetensors model", "diffusion": "picture pipeline"}
# What a refused file of these kinds would have done when loaded is worth knowing.
EXPLAINED = frozenset({"file.pickle", "file.zip", "file.archive"})


class FormatGate:
    """Runs the bounded validators over all files in one confined child process."""

    name = "format_gate"
    version = "2"

    def examine(self, subject: Subject) -> StageVerdict:
        most = subject.policy.max_size_bytes
        if subject.size_bytes > most:
            return refused(
                f"It has {subject.size_bytes:,} bytes, and the operator's policy takes models of at most {most:,}.",
                code="policy.size", size_bytes=subject.size_bytes, max_size_bytes=most,
            )  # fmt: skip
        members = [Member(file.path, file.descriptor) for file in subject.files]
        found = inspect_files(members, is_set=subject.is_set, progress=subject.progress)
        subject.inspection = found
        return _judge(found, subject.policy) if found.passed else _refusal(found, subject)


def _judge(found: Inspection, policy: Policy) -> StageVerdict:
    """A well-formed model may go on if the policy takes its kind."""
    title = TITLES[found.format or ""]
    if found.format not in policy.formats:
        return refused(
            f"It is a well-formed {title}, which the operator's policy does not take.",
            code="policy.format", format=found.format, formats=list(policy.formats),
        )  # fmt: skip
    return passed(f"It is a well-formed {title}.", format=found.format, facts=dict(found.facts))


def _refusal(found: Inspection, subject: Subject) -> StageVerdict:
    where = {"offset": found.offset, "file": found.file}
    evidence: dict[str, Any] = {"code": found.code, **{k: v for k, v in where.items() if v is not None}}
    if found.code in EXPLAINED and (explanation := _explanation(found, subject)):
        evidence["explanation"] = explanation
    make = refused if found.verdict == "refuse" else inconclusive
    return make(f"{found.reason}.", **evidence)


def _explanation(found: Inspection, subject: Subject) -> dict[str, Any] | None:
    """What the file would have done; it decides nothing, so a fault in finding out changes nothing."""
    blamed = [file for file in subject.files if found.file in (None, file.path)]
    try:
        return explain(blamed[0].descriptor) if blamed else None
    except Exception:
        return None
