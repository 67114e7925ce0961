"""Stage 1: may a file from this place enter at all?"""

from registry.policy import admit_source
from registry.quarantine.stages.base import StageVerdict, Subject, passed, refused
from secai_site.kernel.decisions import Deny

SENTENCES = {
    "source.bundled": "It ships with this version of SecAI.",
    "source.local": "It was uploaded by a person who may do so.",
    "source.download": "It comes from a place on the list.",
}


class SourcePolicy:
    """Compares the source with the operator's policy."""

    name = "source_policy"
    version = "2"

    def examine(self, subject: Subject) -> StageVerdict:
        decision = admit_source(subject.source, subject.policy)
        if isinstance(decision, Deny):
            return refused(
                decision.reason, source=subject.source, rule=decision.rule, policy=subject.policy.sha256
            )
        return passed(
            SENTENCES[decision.rule], source=subject.source, rule=decision.rule, policy=subject.policy.sha256
        )
