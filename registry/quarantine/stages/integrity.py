"""Stage 3: are these the bytes that arrived, all of them, and the ones expected of a known model?

Hashed here once more and not taken from the inspection: what the confined child says of bytes is a claim.
"""

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import count
from typing import Final

from registry.policy import BUNDLED
from registry.quarantine.inspection import Inspection
from registry.quarantine.stages.base import StageVerdict, Subject, SubjectFile, passed, refused
from secai_site.kernel.files import set_digest, sha256_of

THREADS: Final = 2
TICK_S: Final = 0.5


class Integrity:
    """Hashes every file again and compares with its arrival, with the inspection, and with what it must be."""

    name = "integrity"
    version = "2"

    def examine(self, subject: Subject) -> StageVerdict:
        digests = _Hashing(subject).run()
        changed = _changed(subject.files, digests)
        if changed is not None:
            return changed
        whole = set_digest((f.path, d) for f, d in zip(subject.files, digests, strict=True))
        digest = whole if subject.is_set else digests[0]
        size = sum(os.fstat(file.descriptor).st_size for file in subject.files)
        if size != subject.size_bytes or digest != subject.sha256:
            return refused("The file changed after it arrived.", expected=subject.sha256, actual=digest)
        if not _inspected(subject.inspection, digests):
            return refused("The file changed while it was being inspected.", expected=digest, actual=None)
        return _pinned(subject, digest, size)


def _pinned(subject: Subject, digest: str, size: int) -> StageVerdict:
    """The digest against the pin that comes with this version, and the one that a person or the source named."""
    pins = [
        (BUNDLED.get(subject.source, ""), "the file that SecAI ships"),
        (subject.pin, "what was asked for"),
    ]
    named = [(pin, what) for pin, what in pins if pin]
    for pin, what in named:
        if pin != digest:
            return refused(
                f"This is not {what}: its SHA-256 is {digest} and should be {pin}.",
                expected=pin,
                actual=digest,
            )
    reason = f"It is byte for byte {named[0][1]}." if named else "All bytes are the ones that arrived."
    return passed(reason, sha256=digest, size_bytes=size, pinned=bool(named))


def _changed(files: Sequence[SubjectFile], digests: Sequence[str]) -> StageVerdict | None:
    for file, digest in zip(files, digests, strict=True):
        if digest != file.sha256 or os.fstat(file.descriptor).st_size != file.size_bytes:
            where = f"“{file.path}”" if len(files) > 1 else "The file"
            return refused(
                f"{where} changed after it arrived.", file=file.path, expected=file.sha256, actual=digest
            )
    return None


def _inspected(inspection: Inspection | None, digests: Sequence[str]) -> bool:
    """Whether the inspection, if it hashed the files, hashed these bytes."""
    if inspection is None or inspection.manifest is None:
        return True
    return sorted(file.sha256 for file in inspection.manifest.files) == sorted(digests)


class _Hashing:
    """Hashes the files of a subject in two threads, while this one reports: a report may end the scan."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.total = max(1, sum(file.size_bytes for file in subject.files))
        self.read = [0] * len(subject.files)
        self.stopped = threading.Event()

    def run(self) -> list[str]:
        """The SHA-256 of each file, in their order; raises what `subject.progress` raises."""
        with ThreadPoolExecutor(THREADS) as pool:
            found = [pool.submit(self._one, n, f) for n, f in zip(count(), self.subject.files, strict=False)]
            try:
                while wait(found, TICK_S).not_done:
                    self.subject.progress(min(1.0, sum(self.read) / self.total))
            finally:
                self.stopped.set()
                pool.shutdown(cancel_futures=True)
            return [one.result() for one in found]

    def _one(self, number: int, file: SubjectFile) -> str:
        def note(done: int) -> None:
            self.read[number] = done
            if self.stopped.is_set():
                raise InterruptedError

        return sha256_of(file.descriptor, note)
