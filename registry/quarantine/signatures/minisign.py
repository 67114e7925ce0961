"""minisign: detached Ed25519 signatures over files of any size. Pure.

Format: https://jedisct1.github.io/minisign/ ("Signature format", "Public key format"). `ED` signs the BLAKE2b-512 of
the file, the older `Ed` the file itself. A second signature binds the trusted comment to the first.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MAX_SIGNATURE: Final = 4096
MAX_KEY: Final = 4096
UNTRUSTED: Final = "untrusted comment: "
TRUSTED: Final = "trusted comment: "
PREHASHED: Final = b"ED"
LEGACY: Final = b"Ed"
PUBLIC_KEY_BYTES: Final = 42
SECRET_KEY_BYTES: Final = 158


class MinisignError(ValueError):
    """It is not of minisign's format; the message is a clause that says what is wrong."""


@dataclass(frozen=True, slots=True)
class MinisignKey:
    """`key_id`: 8 bytes, by which signatures name their key; `key`: 32 bytes of an Ed25519 public key."""

    key_id: bytes
    key: bytes

    def encoded(self) -> bytes:
        """The 42 bytes that minisign writes in base64."""
        return LEGACY + self.key_id + self.key

    def text(self) -> str:
        """The key as minisign's one line."""
        return base64.b64encode(self.encoded()).decode()


@dataclass(frozen=True, slots=True)
class MinisignSignature:
    """`prehashed`: whether the signature is over the file's BLAKE2b-512, not the file."""

    prehashed: bool
    key_id: bytes
    signature: bytes
    comment: bytes
    comment_signature: bytes


def shown_id(key_id: bytes) -> str:
    """The key id as minisign prints it: 16 hex digits, the last byte first."""
    return key_id[::-1].hex().upper()


def parse_key(text: str) -> MinisignKey:
    """A public key, with or without its comment line; raises `MinisignError`."""
    lines = text.strip().splitlines()
    if len(text) > MAX_KEY or not 1 <= len(lines) <= 2:
        raise MinisignError("a minisign public key has one line, or two with its comment")
    if len(lines) == 2 and not lines[0].startswith(UNTRUSTED):
        raise MinisignError("the first of two lines is not an untrusted comment")
    raw = _decoded(lines[-1])
    if len(raw) == SECRET_KEY_BYTES:
        raise MinisignError("this is a secret key")
    if len(raw) != PUBLIC_KEY_BYTES or raw[:2] != LEGACY:
        raise MinisignError("it is not a minisign public key")
    return MinisignKey(raw[2:10], raw[10:])


def parse_signature(raw: bytes) -> MinisignSignature:
    """The four lines of a `.minisig` file; raises `MinisignError`."""
    if len(raw) > MAX_SIGNATURE:
        raise MinisignError(f"it is longer than {MAX_SIGNATURE} bytes")
    try:
        lines = raw.decode().replace("\r\n", "\n").removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        raise MinisignError("it is not text") from None
    if len(lines) != 4 or not lines[0].startswith(UNTRUSTED) or not lines[2].startswith(TRUSTED):
        raise MinisignError("it has not the four lines of a minisign signature")
    body, comment_signature = _decoded(lines[1]), _decoded(lines[3])
    if len(body) != 74 or body[:2] not in (PREHASHED, LEGACY) or len(comment_signature) != 64:
        raise MinisignError("its signature is of no known kind")
    comment = lines[2].removeprefix(TRUSTED).encode()
    return MinisignSignature(body[:2] == PREHASHED, body[2:10], body[10:], comment, comment_signature)


def is_valid(signature: MinisignSignature, key: MinisignKey, message: bytes) -> bool:
    """Whether `key` made both signatures; `message`: the BLAKE2b-512 of the file, or the file for a legacy one."""
    public = Ed25519PublicKey.from_public_bytes(key.key)
    try:
        public.verify(signature.signature, message)
        public.verify(signature.comment_signature, signature.signature + signature.comment)
    except InvalidSignature:
        return False
    return True


def _decoded(line: str) -> bytes:
    try:
        return base64.b64decode(line.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise MinisignError("a line is not base64") from None
