"""Public keys that an operator may trust: read, checked, and written in one form. Pure."""

import hashlib
from dataclasses import dataclass
from typing import Final, Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from registry.quarantine.signatures.minisign import MAX_KEY, MinisignError, parse_key

CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")
WANTED: Final = (
    "Paste a minisign public key, or a PEM public key (BEGIN PUBLIC KEY) of Ed25519, P-256, P-384 or P-521."
)


class KeyUnusableError(ValueError):
    """The text is no public key that signatures can be checked with; the message is for the operator."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """`text`: its one form; `fingerprint`: hex SHA-256 of minisign's 42 bytes or of the SubjectPublicKeyInfo in DER."""

    kind: Literal["minisign", "pem"]
    text: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class TrustedSigner:
    """A key that the operator trusts, under the name they gave it."""

    name: str
    key: PublicKey

    def evidence(self) -> dict[str, str]:
        """What pages show of it."""
        return {"name": self.name, "kind": self.key.kind, "fingerprint": self.key.fingerprint}


def public_key(text: str) -> PublicKey:
    """The key in `text`; raises `KeyUnusableError`."""
    if len(text) > MAX_KEY:
        raise KeyUnusableError(f"This is too long for a public key. {WANTED}")
    if "PRIVATE KEY" in text or "secret key" in text:
        raise _private()
    if "-----BEGIN" in text:
        return _from_pem(text)
    try:
        key = parse_key(text)
    except MinisignError as error:
        if "secret" in str(error):
            raise _private() from None
        raise KeyUnusableError(f"This is not a public key that can be used here. {WANTED}") from None
    return PublicKey("minisign", key.text(), hashlib.sha256(key.encoded()).hexdigest())


def _private() -> KeyUnusableError:
    return KeyUnusableError(
        "This is a private key. It was not kept, but it should never leave its owner: paste the public key instead, "
        "and if this one was shown to anybody, replace it."
    )


def _from_pem(text: str) -> PublicKey:
    if "-----BEGIN PUBLIC KEY-----" not in text or text.count("-----BEGIN") != 1:
        raise KeyUnusableError(f"This PEM text holds something else than one public key. {WANTED}")
    try:
        key = serialization.load_pem_public_key(text.strip().encode())
    except (ValueError, UnsupportedAlgorithm):
        raise KeyUnusableError(f"This PEM text cannot be read as a public key. {WANTED}") from None
    _require_usable(key)
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return PublicKey("pem", pem.decode(), hashlib.sha256(der).hexdigest())


def _require_usable(key: object) -> None:
    """Neither signature format knows RSA; its length is named because it is the more urgent fault."""
    if isinstance(key, rsa.RSAPublicKey):
        short = (
            " and this one, shorter than 3072 bits, should not be used anywhere"
            if key.key_size < 3072
            else ""
        )
        raise KeyUnusableError(f"RSA keys cannot sign models for this box{short}. {WANTED}")
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in CURVES:
        return
    if not isinstance(key, Ed25519PublicKey):
        raise KeyUnusableError(f"Keys of this kind cannot sign models for this box. {WANTED}")
