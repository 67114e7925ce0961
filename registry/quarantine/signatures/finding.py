"""What was found out about a signature. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from registry.quarantine.signatures.keys import TrustedSigner


class Standing(StrEnum):
    """`unknown`: by a key that is not trusted here, right or wrong; `unsupported`: of a kind that is not checked."""

    SIGNED = "signed"
    UNKNOWN = "unknown"
    UNSUPPORTED = "unsupported"
    INVALID = "invalid"
    MALFORMED = "malformed"
    UNCHECKED = "unchecked"


@dataclass(frozen=True, slots=True)
class Finding:
    """`reason`: a sentence for the model's owner; `signer`: who signed, when that is a trusted key."""

    standing: Standing
    reason: str
    signer: TrustedSigner | None = None


CHANGED: Final = Finding(Standing.INVALID, "The file changed while its signature was being checked.")


def signed(signer: TrustedSigner, *, among: int = 1) -> Finding:
    """`among`: how many files the signature covers, where the model is one of them."""
    more = f", as one of {among} files" if among > 1 else ""
    return Finding(Standing.SIGNED, f"Signed by “{signer.name}”, whose key this box trusts{more}.", signer)


def invalid(signer: TrustedSigner, why: str = "the signature is not valid for these bytes") -> Finding:
    """A trusted key is named, and the signature is not its word for these files."""
    return Finding(
        Standing.INVALID,
        f"It claims to be signed by “{signer.name}”, but {why}. It is not what that signer published: get it again, "
        "with its signature, from the signer.",
    )


def unknown(which: str) -> Finding:
    """The signature may be good; nobody here says whose it is."""
    return Finding(Standing.UNKNOWN, f"It is signed with a key that this box does not trust ({which}).")


def unsupported(why: str) -> Finding:
    """A signature of a kind that this box does not check."""
    return Finding(Standing.UNSUPPORTED, f"Its signature is of a kind that this box cannot check: {why}.")


def malformed(why: str) -> Finding:
    """A signature file that is none."""
    return Finding(
        Standing.MALFORMED,
        f"Its signature file cannot be read: {why}. Add the .minisig or model.sig file that belongs to it, or none.",
    )
