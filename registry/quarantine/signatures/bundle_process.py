"""The child process that runs the model-signing library on a bundle. It can read one folder and reach nothing else.

Started by `registry.quarantine.signatures.bundle`: the folder holds `model.sig` and the trusted keys `0.pem`, `1.pem`…
It writes one JSON object: `{"outcome": "signed", "key": number, "method", "files": [[path, algorithm, hex], …]}`, or
the outcome `unknown` (with `hint`), `invalid` (with `key`), `malformed` or `unsupported`.
"""

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any, Final

import cryptography.hazmat.backends.openssl.backend  # noqa: F401 - cannot be loaded any more once confined
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from model_signing._signing.sign_ec_key import Verifier
from model_signing._signing.sign_sigstore_pb import Signature

from secai_site.kernel.sandbox import Limits, Profile, apply

ANSWER: Final = 1
MEMORY: Final = 512 << 20
# What a bundle of a wrong form provokes in the library; anything else is our fault, and ends this process.
HOSTILE: Final = (ValueError, LookupError, TypeError, AttributeError, RecursionError)

Answer = dict[str, Any]


def main(arguments: list[str]) -> int:
    """Confine this process, check the bundle, write the answer. `arguments`: parent pid, folder, number of keys."""
    parent, folder, keys = int(arguments[0]), Path(arguments[1]), int(arguments[2])
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - the library prints; the answer goes past it
    apply(
        Profile(
            name="signature", read=(folder,), network="none", processes=False, required=True, parent=parent,
            limits=Limits(cpu_s=20, memory=MEMORY, file_size=0, open_files=32),
        )
    )  # fmt: skip
    answer = examine(folder / "model.sig", [folder / f"{number}.pem" for number in range(keys)])
    os.write(ANSWER, json.dumps(answer).encode())
    return 0


def examine(bundle: Path, keys: list[Path]) -> Answer:
    """What the bundle says, and whether one of the keys signed it."""
    try:
        signature = Signature.read(bundle)
        material = signature.bundle.verification_material
        hint = material.public_key.hint if material.public_key is not None else None
        signed = bool(signature.bundle.dsse_envelope and signature.bundle.dsse_envelope.signatures)
    except HOSTILE:
        return {"outcome": "malformed"}
    if material.public_key is None:
        return {"outcome": "unsupported"}
    if not signed:
        return {"outcome": "malformed"}
    for number, key in enumerate(keys):
        if not _is_meant(key, hint):
            continue
        answer = _verified(signature, key, number)
        if answer["outcome"] != "invalid" or hint:
            return answer
    return {"outcome": "unknown", "hint": hint or ""}


def _is_meant(path: Path, hint: str | None) -> bool:
    """Whether the bundle may be by this key: it names one by the SHA-256 of its PEM text, or none."""
    raw = path.read_bytes()
    if not isinstance(load_pem_public_key(raw), EllipticCurvePublicKey):
        return False
    return not hint or hint == hashlib.sha256(raw).hexdigest()


def _verified(signature: Signature, key: Path, number: int) -> Answer:
    try:
        manifest = Verifier(key).verify(signature)
    except InvalidSignature:
        return {"outcome": "invalid", "key": number}
    except HOSTILE:  # signed, but what is signed is no statement about files
        return {"outcome": "malformed"}
    files = [
        [one.identifier, one.digest.algorithm, one.digest.digest_hex]
        for one in manifest.resource_descriptors()
    ]
    return {
        "outcome": "signed",
        "key": number,
        "method": manifest.serialization_type["method"],
        "files": files,
    }
