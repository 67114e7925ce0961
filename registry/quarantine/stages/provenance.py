"""Stage 4: who vouches for it? Says what is known, and says so when that is nothing."""

from registry.policy import BUNDLED
from registry.quarantine.signatures.check import check_signature
from registry.quarantine.signatures.finding import Finding, Standing
from registry.quarantine.stages.base import StageVerdict, Subject, inconclusive, passed, refused
from registry.trusted import trusted_signers

UNSIGNED = "Nobody vouches for this file. It is admitted for what it contains, not for who made it."
REQUIRED = (
    "This box takes only models that are signed with a key that its operator trusts. Add the signature to the model; "
    "if the signer's key is not trusted yet, an operator can add it under trusted keys. Then scan the model again."
)


class Provenance:
    """Checks a signature against the keys that the operator trusts; what has none is unsigned, and shown as such."""

    name = "provenance"
    version = "2"

    def examine(self, subject: Subject) -> StageVerdict:
        finding = None
        if subject.signature is not None:
            finding = check_signature(subject.signature, subject, trusted_signers())
        return judge(finding, subject, pinned=bool(BUNDLED.get(subject.source)))


def judge(finding: Finding | None, subject: Subject, *, pinned: bool) -> StageVerdict:
    """The verdict on what was found of the signature, None where there is none. Pure.

    `pinned`: the integrity stage has compared the bytes with the digest in SecAI's own release, which is as good
    as a signature.
    """
    signer = finding.signer if finding else None
    evidence = {
        "signed": signer is not None, "signer": signer.evidence() if signer else None, "pinned": pinned,
        "source": subject.source, "license": subject.facts.get("license"),
    }  # fmt: skip
    if finding and finding.standing in (Standing.INVALID, Standing.MALFORMED):
        return refused(finding.reason, **evidence)
    if finding and finding.standing is Standing.UNCHECKED:
        return inconclusive(finding.reason, **evidence)
    if finding and signer:
        return passed(finding.reason, **evidence)
    if pinned:
        return passed("SecAI's own release vouches for these bytes by their digest.", **evidence)
    found = finding.reason if finding else "It is unsigned."
    if subject.policy.signature == "required":
        return refused(f"{found} {REQUIRED}", **evidence)
    return passed(f"Unsigned: {found} {UNSIGNED}" if finding else f"Unsigned. {UNSIGNED}", **evidence)
