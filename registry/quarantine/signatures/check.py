"""Checking the signature that came with a model: which kind it is, and what it says."""

import os
from collections.abc import Sequence
from typing import Final

from registry.quarantine.signatures.bundle import check_bundle
from registry.quarantine.signatures.detached import FileChangedError, check_bare, check_minisign
from registry.quarantine.signatures.finding import CHANGED, Finding, malformed
from registry.quarantine.signatures.keys import TrustedSigner
from registry.quarantine.stages.base import Subject

# A bundle names every file of a set: 4,000 files and their digests, twice encoded.
MAX_SIGNATURE: Final = 1 << 20


def check_signature(descriptor: int, subject: Subject, signers: Sequence[TrustedSigner]) -> Finding:
    """Check the signature file behind `descriptor` over the files of `subject`; what is in it never raises."""
    raw = os.pread(descriptor, MAX_SIGNATURE + 1, 0)
    if not raw or len(raw) > MAX_SIGNATURE:
        return malformed("it is empty" if not raw else "it is longer than 1 MiB")
    try:
        if raw.startswith(b"untrusted comment:"):
            return check_minisign(raw, subject, signers)
        if raw.lstrip().startswith(b"{"):
            return check_bundle(raw, subject, signers)
        return check_bare(raw, subject, signers)
    except FileChangedError:
        return CHANGED
