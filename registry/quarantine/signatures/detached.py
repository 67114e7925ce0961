"""Detached signatures over one message: minisign's, and bare Ed25519 (64 bytes, as `openssl pkeyutl` writes).

The message of a model in one file is the file; of a set it is what `sha256sum` prints for its files, sorted by path.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from registry.quarantine.signatures.finding import (
    Finding,
    invalid,
    malformed,
    signed,
    unknown,
    unsupported,
)
from registry.quarantine.signatures.keys import TrustedSigner
from registry.quarantine.signatures.minisign import (
    MinisignError,
    MinisignSignature,
    is_valid,
    parse_key,
    parse_signature,
    shown_id,
)
from registry.quarantine.stages.base import Subject, SubjectFile

MAX_WHOLE: Final = 64 << 20
CHUNK: Final = 1 << 20
BARE: Final = 64
TOO_LONG: Final = unsupported(
    "it is over the whole file at once, which works up to 64 MiB; sign it again with minisign 0.11 or later"
)


class FileChangedError(Exception):
    """The bytes under the signature are not the ones that arrived."""


def check_minisign(raw: bytes, subject: Subject, signers: Sequence[TrustedSigner]) -> Finding:
    """Check a `.minisig` file against the trusted keys that it names."""
    try:
        signature = parse_signature(raw)
    except MinisignError as error:
        return malformed(str(error))
    named = [
        (signer, key)
        for signer in signers
        if signer.key.kind == "minisign" and (key := parse_key(signer.key.text)).key_id == signature.key_id
    ]
    if not named:
        return unknown(f"minisign key {shown_id(signature.key_id)}")
    message = _message(signature, subject)
    if message is None:
        return TOO_LONG
    good = next((signer for signer, key in named if is_valid(signature, key, message)), None)
    return signed(good) if good else invalid(named[0][0])


def check_bare(raw: bytes, subject: Subject, signers: Sequence[TrustedSigner]) -> Finding:
    """Check 64 bytes, or their base64, against every trusted Ed25519 key; they do not say whose they are."""
    signature = raw if len(raw) == BARE else _from_base64(raw)
    if signature is None:
        return malformed("it is neither a minisign file, nor a model-signing bundle, nor 64 bytes of Ed25519")
    message = _whole(subject)
    if message is None:
        return TOO_LONG
    for signer in signers:
        if _made(signer, signature, message):
            return signed(signer)
    return unknown("an Ed25519 key that the signature does not name")


def _made(signer: TrustedSigner, signature: bytes, message: bytes) -> bool:
    key = load_pem_public_key(signer.key.text.encode()) if signer.key.kind == "pem" else None
    if not isinstance(key, Ed25519PublicKey):
        return False
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _from_base64(raw: bytes) -> bytes | None:
    try:
        decoded = base64.b64decode(raw.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    return decoded if len(decoded) == BARE else None


def _message(signature: MinisignSignature, subject: Subject) -> bytes | None:
    return _blake2b(subject) if signature.prehashed else _whole(subject)


def _blake2b(subject: Subject) -> bytes:
    """BLAKE2b-512 of the message, in one pass that also makes sure that these are the bytes that arrived."""
    if subject.is_set:
        return hashlib.blake2b(listing(subject.files)).digest()
    file, digest, arrived = subject.files[0], hashlib.blake2b(), hashlib.sha256()
    offset = 0
    while chunk := os.pread(file.descriptor, CHUNK, offset):
        digest.update(chunk)
        arrived.update(chunk)
        offset += len(chunk)
        subject.progress(min(1.0, offset / max(1, file.size_bytes)))
    _require(arrived.hexdigest() == file.sha256)
    return digest.digest()


def _whole(subject: Subject) -> bytes | None:
    """The message itself, or None where it is too long for memory."""
    if subject.is_set:
        return listing(subject.files)
    file = subject.files[0]
    if file.size_bytes > MAX_WHOLE:
        return None
    with open(file.descriptor, "rb", closefd=False, buffering=0) as opened:
        opened.seek(0)
        whole = opened.read(MAX_WHOLE + 1) or b""
    _require(hashlib.sha256(whole).hexdigest() == file.sha256)
    return whole


def _require(same: bool) -> None:
    if not same:
        raise FileChangedError


def listing(files: Sequence[SubjectFile]) -> bytes:
    """The lines of `sha256sum` for a set: the text whose SHA-256 names the set (`kernel.files.set_digest`)."""
    return "".join(
        f"{file.sha256}  {file.path}\n" for file in sorted(files, key=lambda one: one.path)
    ).encode()
