"""What a stage is: a question about one file, answered with a verdict and its evidence."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from registry.lifecycle import Verdict
from registry.quarantine.inspect import Inspection


@dataclass(slots=True)
class Subject:
    """The file under scan: its open descriptor and what is known of it so far.

    `progress` takes how far the running stage is (0…1); `inspection` is set by the format gate and read by the
    stages after it.
    """

    descriptor: int
    path: Path
    root: Path
    name: str
    filename: str
    source: str
    sha256: str
    size_bytes: int
    progress: Callable[[float], None] = lambda _fraction: None
    inspection: Inspection | None = None

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the format gate read out of the file."""
        return self.inspection.facts if self.inspection else {}


@dataclass(frozen=True, slots=True)
class StageVerdict:
    """`reason` is a sentence for the file's owner, `evidence` what it rests on."""

    verdict: Verdict
    reason: str
    evidence: dict[str, Any] = field(default_factory=dict)


class Stage(Protocol):
    """One stage. `version` changes when its answer to the same bytes may change."""

    name: str
    version: str

    def examine(self, subject: Subject) -> StageVerdict:
        """Look at the file. An exception counts as inconclusive, which refuses."""


def passed(reason: str, **evidence: Any) -> StageVerdict:
    """The file may go on."""
    return StageVerdict(Verdict.PASS, reason, evidence)


def refused(reason: str, **evidence: Any) -> StageVerdict:
    """The file ends here."""
    return StageVerdict(Verdict.REFUSE, reason, evidence)


def inconclusive(reason: str, **evidence: Any) -> StageVerdict:
    """The stage could not do its work, so the file ends here as well."""
    return StageVerdict(Verdict.INCONCLUSIVE, reason, evidence)


def not_applicable(reason: str, **evidence: Any) -> StageVerdict:
    """The stage has nothing to say about files of this kind."""
    return StageVerdict(Verdict.NOT_APPLICABLE, reason, evidence)
