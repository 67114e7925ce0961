"""Stage 4: who vouches for it? Says what is known, and says so when that is nothing."""

from registry.policy import BUNDLED
from registry.quarantine.stages.base import StageVerdict, Subject, passed


class Provenance:
    """Records where the file comes from; signatures are not read by this version, and it says that."""

    name = "provenance"
    version = "1"

    def examine(self, subject: Subject) -> StageVerdict:
        pinned = bool(BUNDLED.get(subject.source))
        reason = (
            "SecAI's own release vouches for these bytes by their digest."
            if pinned
            else "Unsigned: nobody vouches for this file. It is admitted for what it contains, not for who made it."
        )
        return passed(
            reason, signed=False, pinned=pinned, source=subject.source, license=subject.facts.get("license")
        )
