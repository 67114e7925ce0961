"""Stage 3: are these the bytes that arrived, all of them, and the ones expected of a known file?"""

import os

from registry.policy import BUNDLED
from registry.quarantine.stages.base import StageVerdict, Subject, passed, refused
from secai_site.kernel.files import sha256_of


class Integrity:
    """Hashes the file again and compares with its arrival and, for a bundled file, with its pin."""

    name = "integrity"
    version = "1"

    def examine(self, subject: Subject) -> StageVerdict:
        size = os.fstat(subject.files[0].descriptor).st_size
        total = max(size, 1)
        digest = sha256_of(subject.files[0].descriptor, lambda done: subject.progress(done / total))
        if size != subject.size_bytes or digest != subject.sha256:
            return refused("The file changed after it arrived.", expected=subject.sha256, actual=digest)
        pin = BUNDLED.get(subject.source)
        if pin and pin != digest:
            return refused("This is not the file that ships with SecAI.", expected=pin, actual=digest)
        return passed(
            "All bytes are the ones that arrived." if not pin else "It is byte for byte the file that SecAI ships.",
            sha256=digest, size_bytes=size, pinned=bool(pin),
        )  # fmt: skip
