"""OpenSSF model-signing bundles (`model.sig`), made with an elliptic-curve key.

A confined child runs the model-signing library: it checks the bundle's own signature and gives the digests that were
signed. They are compared here with those that the integrity stage has just computed, so no file is read again.
"""

import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from registry.quarantine.child import python_child, run_child
from registry.quarantine.plain import plain
from registry.quarantine.signatures.finding import (
    Finding,
    Standing,
    invalid,
    malformed,
    signed,
    unknown,
    unsupported,
)
from registry.quarantine.signatures.keys import TrustedSigner
from registry.quarantine.stages.base import Subject

log = logging.getLogger(__name__)

PROCESS: Final = "registry.quarantine.signatures.bundle_process"
SECONDS: Final = 30.0
MAX_ANSWER: Final = 4 << 20
UNCHECKED: Final = Finding(
    Standing.UNCHECKED, "Its signature could not be checked on this box. The operator finds why in the log."
)


@dataclass(frozen=True, slots=True)
class SignedFiles:
    """What a good signature is over: `digests` by path, `.` for a single file, made with `algorithm` over `method`."""

    key: int
    method: str
    algorithms: frozenset[str]
    digests: Mapping[str, str]


def check_bundle(raw: bytes, subject: Subject, signers: Sequence[TrustedSigner]) -> Finding:
    """Check a bundle against the trusted keys, and the digests that it signs against the files."""
    known = [signer for signer in signers if signer.key.kind == "pem"]
    with tempfile.TemporaryDirectory(prefix="signature-") as folder:
        answer = _ask(raw, known, Path(folder))
    match answer:
        case SignedFiles():
            return _compare(answer, subject, known[answer.key])
        case {"outcome": "unknown", "hint": str(hint)}:
            return unknown(f"key {plain(hint, 70)}" if hint else "a key that the signature does not name")
        case {"outcome": "invalid", "key": int(key)} if 0 <= key < len(known):
            return invalid(known[key])
        case {"outcome": "malformed"}:
            return malformed("it is no whole model-signing bundle")
        case {"outcome": "unsupported"}:
            return unsupported(
                "it is by a certificate or an online identity, and this box checks only those made with a key"
            )
        case _:
            return UNCHECKED


def _ask(raw: bytes, signers: Sequence[TrustedSigner], folder: Path) -> "SignedFiles | dict[str, Any] | None":
    """The child's answer; None when there is none that makes sense."""
    (folder / "model.sig").write_bytes(raw)
    for number, signer in enumerate(signers):
        (folder / f"{number}.pem").write_text(signer.key.text)
    with (folder / "model.sig").open("rb") as stdin:
        command = python_child(PROCESS, str(folder), str(len(signers)))
        outcome = run_child(command, stdin=stdin.fileno(), seconds=SECONDS, most=MAX_ANSWER)
    if outcome.end != "well":
        log.warning("the check of a signature bundle ended %s", outcome.end)
        return None
    try:
        answer = json.loads(outcome.output)
        return _signed_files(answer, len(signers)) if answer["outcome"] == "signed" else dict(answer)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _signed_files(answer: Mapping[str, Any], keys: int) -> SignedFiles:
    key, files = answer["key"], answer["files"]
    if type(key) is not int or not 0 <= key < keys or not isinstance(answer["method"], str):
        raise ValueError("key or method")
    if not all(isinstance(text, str) for file in files for text in file):
        raise ValueError("files")
    return SignedFiles(
        key,
        answer["method"],
        frozenset(algorithm for _, algorithm, _ in files),
        {path: digest for path, _, digest in files},
    )


def _compare(found: SignedFiles, subject: Subject, signer: TrustedSigner) -> Finding:
    if found.method != "files" or found.algorithms - {"sha256"}:
        return unsupported(
            "it signs other digests than the SHA-256 of each file, which is what model-signing uses"
        )
    if not subject.is_set:
        if subject.sha256 in found.digests.values():
            return signed(signer, among=len(found.digests))
        return invalid(signer, "this file is not among those that were signed")
    here = {file.path: file.sha256 for file in subject.files}
    strange = sorted(path for path in {*here, *found.digests} if here.get(path) != found.digests.get(path))
    if not strange:
        return signed(signer)
    path = strange[0]
    state = (
        "is missing" if path not in here else "was not signed" if path not in found.digests else "was changed"
    )
    return invalid(signer, f"“{plain(path, 120)}” {state}")
