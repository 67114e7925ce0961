"""The box's own promotion record: what was promoted and on which grounds, signed with this box's key.

An in-toto Statement v1 (https://in-toto.io/Statement/v1) in a DSSE envelope (secure-systems-lab/dsse, protocol.md),
signed with Ed25519, so that anybody with `public_key_pem()` can check it without this software.
"""

import base64
import binascii
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings
from django.utils import timezone

from registry.contract import StageRecord
from registry.models import Artifact
from secai_site.kernel import secrets
from secai_site.kernel.audit.chain import derive_key
from secai_site.kernel.env import ConfigurationError
from secai_site.kernel.errors import Unavailable

log = logging.getLogger(__name__)

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "urn:secai:promotion:v1"
KEY_FILE: Final = "promotion.key"

Envelope = dict[str, Any]


class RecordInvalid(ValueError):
    """It is no promotion record of this box, or somebody changed it."""


class PromotionKeyUnusable(Unavailable):
    """The key that signs promotion records is lost or cannot be read; nothing is promoted or loaded meanwhile."""

    code = "promotion.key"


def make_record(
    *,
    name: str,
    sha256: str,
    source: str,
    promoted_by: str,
    policy_version: int,
    stages: Sequence[StageRecord],
) -> Envelope:
    """A signed record: `sha256` of the file or set, its `source`, and the `stages` as `selectors.stage_record` gives.

    Everything else (policy hash, manifest root, fingerprint, template, signer) is taken from the stages' evidence.
    Raises `PromotionKeyUnusable`.
    """
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": sha256}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "promoted_at": timezone.now().isoformat(timespec="seconds"),
            "promoted_by": promoted_by,
            "source": source,
            "software": {"name": "SecAI", "version": settings.VERSION},
            **_grounds(stages, policy_version),
        },
    }
    return _seal(json.dumps(statement, sort_keys=True, separators=(",", ":")).encode())


def record_is_genuine(envelope: Mapping[str, Any]) -> bool:
    """Whether this box made the record and nobody changed it. Raises `PromotionKeyUnusable`, nothing else."""
    try:
        statement_of(envelope)
    except RecordInvalid:
        return False
    return True


def is_record_of(envelope: Mapping[str, Any], *, name: str, sha256: str) -> bool:
    """Whether the record is genuine and about this very model, not a good record of another one."""
    try:
        subject = statement_of(envelope)["subject"]
    except RecordInvalid:
        return False
    return bool(subject == [{"name": name, "digest": {"sha256": sha256}}])


def statement_of(envelope: Mapping[str, Any]) -> dict[str, Any]:
    """What a genuine record states; raises `RecordInvalid` for any other, `PromotionKeyUnusable`."""
    payload, signature = _opened(envelope)
    try:
        _public_key().verify(signature, _encoded_for_signing(payload))
    except InvalidSignature:
        raise RecordInvalid("The record is not signed by this box, or was changed.") from None
    return dict(json.loads(payload))


def public_key_pem() -> str:
    """The key that checks this box's records: SubjectPublicKeyInfo of Ed25519 in PEM."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return _public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def key_id() -> str:
    """How records name that key: the hex SHA-256 of its SubjectPublicKeyInfo in DER."""
    return _id_of(_public_key())


def _grounds(stages: Sequence[StageRecord], policy_version: int) -> dict[str, Any]:
    """Why the model was let in, out of the evidence of its stages."""
    evidence = {stage["name"]: stage["evidence"] for stage in stages}
    scanned, provenance = evidence.get("static_scan", {}), evidence.get("provenance", {})
    return {
        "verdicts": {
            stage["name"]: {"verdict": stage["verdict"], "version": stage["version"]} for stage in stages
        },
        "policy": {
            "version": policy_version, "sha256": evidence.get("source_policy", {}).get("policy"),
        },
        "manifest_root": scanned.get("merkle_root"),
        "fingerprint": scanned.get("fingerprint"),
        "template_sha256": scanned.get("template_sha256"),
        "signer": provenance.get("signer"),
    }  # fmt: skip


def _seal(payload: bytes) -> Envelope:
    key = _private_key()
    signature = base64.b64encode(key.sign(_encoded_for_signing(payload))).decode()
    return {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": _id_of(key.public_key()), "sig": signature}],
    }


def _opened(envelope: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """Payload and signature of an envelope that is exactly of our form."""
    match envelope:
        case {"payloadType": str(kind), "payload": str(payload), "signatures": [{"sig": str(signature)}]}:
            if kind != PAYLOAD_TYPE or len(envelope) != 3:
                raise RecordInvalid("The record is of another kind.")
        case _:
            raise RecordInvalid("There is no record, or it is of another form.")
    try:
        return base64.b64decode(payload, validate=True), base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        raise RecordInvalid("The record is damaged.") from None


def _encoded_for_signing(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def _id_of(key: Ed25519PublicKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_bytes(serialization.Encoding.DER, form)).hexdigest()


def _public_key() -> Ed25519PublicKey:
    return _private_key().public_key()


def _private_key() -> Ed25519PrivateKey:
    """This box's key, derived from a secret that is made when the first record is; it never leaves the process.

    Once there are records, a missing secret is a loss to be told: another key would disown them all.
    """
    path = Path(settings.SECAI_HOME) / "secrets" / KEY_FILE
    try:
        secret = _read_or_create(path)
    except (ConfigurationError, OSError) as error:
        log.error("promotion key: %s", error)
        raise PromotionKeyUnusable(
            f"The key that signs promotion records cannot be used; an operator must restore secrets/{KEY_FILE} from a "
            "backup."
        ) from error
    return Ed25519PrivateKey.from_private_bytes(derive_key(secret, "promotion-record"))


def _read_or_create(path: Path) -> str:
    try:
        return secrets.read(path)
    except FileNotFoundError:
        first = not Artifact.objects.filter(record__has_key="payloadType").exists()
        return secrets.read_or_create(path, first_start=first)
