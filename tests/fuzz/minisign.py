"""minisign's texts: a parsed key can be written back, a parsed signature can be checked."""

from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from registry.quarantine.signatures.minisign import MinisignError, is_valid, parse_key, parse_signature
from tests.fuzz.target import Target
from tests.support.signing import Minisign

# always the same, so that kept inputs stay signed
SIGNER = Minisign(Ed25519PrivateKey.from_private_bytes(bytes(32)), b"fuzzing!")
KEY = parse_key(SIGNER.public())


def check(data: bytes) -> bool:
    """Raise on a breach; whether it was a key or a signature."""
    return _is_key(data.decode("utf-8", "replace")) or _is_signature(data)


def _is_key(text: str) -> bool:
    try:
        key = parse_key(text)
    except MinisignError:
        return False
    assert parse_key(key.text()) == key
    return True


def _is_signature(data: bytes) -> bool:
    try:
        signature = parse_signature(data)
    except MinisignError:
        return False
    assert is_valid(signature, KEY, b"message") in (True, False)
    return True


def seeds() -> Iterator[bytes]:
    """A key and a signature."""
    yield SIGNER.public().encode()
    yield SIGNER.sign(b"message")


TARGET = Target("minisign", check, seeds)
