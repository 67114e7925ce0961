"""What a stage is: a question about one file, answered with a verdict and its evidence."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from registry.lifecycle import Verdict
from registry.policy import Policy
from registry.quarantine.inspect import Inspection


@dataclass(frozen=True, slots=True)
class SubjectFile:
    """One file under scan: `path` relative to the set (the uploaded name for a model in one file), opened read-only."""

    path: str
    descriptor: int
    sha256: str
    size_bytes: int


@dataclass(slots=True)
class Subject:
    """What is under scan: its open descriptors and what is known of it so far.

    `folder` holds only this item; in it `path` is the file, or the folder of a set's files. `sha256` is the digest
    of the file, or of the set. `pin` is the digest that it must have, "" for none; `signature` the descriptor of a
    detached signature. `progress` takes how far the running stage is (0…1); `inspection` is set by the format
    gate and read by the stages after it.
    """

    folder: Path
    path: Path
    files: tuple[SubjectFile, ...]
    is_set: bool
    name: str
    filename: str
    source: str
    sha256: str
    size_bytes: int
    policy: Policy
    pin: str = ""
    signature: int | None = None
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
