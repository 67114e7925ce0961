"""Signers for the tests: minisign's format and model-signing bundles, made as their owners' tools make them."""

import base64
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

import model_signing
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

RAW = (serialization.Encoding.Raw, serialization.PublicFormat.Raw)
PEM = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


@dataclass(frozen=True)
class Minisign:
    """A minisign key pair."""

    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    key_id: bytes = field(default_factory=lambda: os.urandom(8))

    def public(self) -> str:
        """The `.pub` file."""
        raw = b"Ed" + self.key_id + self.key.public_key().public_bytes(*RAW)
        return f"untrusted comment: minisign public key\n{base64.b64encode(raw).decode()}\n"

    def secret(self) -> str:
        """What a secret key file looks like; its key is no real one."""
        raw = b"EdSc" + bytes(154)
        return f"untrusted comment: minisign encrypted secret key\n{base64.b64encode(raw).decode()}\n"

    def sign(self, data: bytes, *, legacy: bool = False, comment: str = "timestamp:1\tfile:model") -> bytes:
        """The `.minisig` file of `data`."""
        message = data if legacy else hashlib.blake2b(data).digest()
        signature = self.key.sign(message)
        lines = (
            "untrusted comment: signature from minisign secret key",
            base64.b64encode((b"Ed" if legacy else b"ED") + self.key_id + signature).decode(),
            f"trusted comment: {comment}",
            base64.b64encode(self.key.sign(signature + comment.encode())).decode(),
        )
        return "\n".join((*lines, "")).encode()


@dataclass(frozen=True)
class Elliptic:
    """An elliptic-curve key pair for model-signing bundles."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def public(self) -> str:
        """The public key in PEM."""
        return self.key.public_key().public_bytes(*PEM).decode()

    def private(self) -> str:
        """The private key in PEM, which nobody should paste anywhere."""
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return self.key.private_bytes(*form).decode()

    def sign(self, model: Path, scratch: Path, *, shards: bool = False) -> bytes:
        """The `model.sig` that the model-signing library makes for a file or folder."""
        private = scratch / "signer.pem"
        private.write_text(self.private())
        config = model_signing.signing.Config()  # type: ignore[no-untyped-call]
        config.use_elliptic_key_signer(private_key=private)
        if shards:
            hashing = model_signing.hashing.Config()  # type: ignore[no-untyped-call]
            config.set_hashing_config(hashing.use_shard_serialization())
        config.sign(model, scratch / "made.sig")
        private.unlink()
        return (scratch / "made.sig").read_bytes()


def pem_of(key: Ed25519PrivateKey) -> str:
    """An Ed25519 public key in PEM."""
    return key.public_key().public_bytes(*PEM).decode()
