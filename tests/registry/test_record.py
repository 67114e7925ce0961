"""The promotion record: what it states, that others can check it, and that no other record passes."""

import base64
import copy
import hashlib
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from django.conf import settings as django_settings

from registry import record
from registry.contract import StageRecord
from registry.models import Artifact
from tests.support.builders import promoted

pytestmark = pytest.mark.django_db

KEY = Path(django_settings.SECAI_HOME) / "secrets" / record.KEY_FILE
SHA = "a" * 64


@pytest.fixture(autouse=True)
def fresh_key() -> Iterator[None]:
    """Each test makes the box's key anew; the box's own comes back afterwards."""
    before = KEY.read_bytes() if KEY.exists() else None
    KEY.unlink(missing_ok=True)
    yield
    KEY.unlink(missing_ok=True)
    if before is not None:
        KEY.touch(0o600)
        KEY.write_bytes(before)


def stage(name: str, **evidence: Any) -> StageRecord:
    """A stage that passed."""
    return {
        "name": name, "verdict": "pass", "reason": "", "evidence": evidence, "duration_ms": 1, "version": "2",
    }  # fmt: skip


SIGNER = {"name": "Ann", "kind": "pem", "fingerprint": "f" * 64}
STAGES = [
    stage("source_policy", policy="b" * 64),
    stage("provenance", signer=SIGNER),
    stage("static_scan", merkle_root="c" * 64, fingerprint="d" * 64, template_sha256="e" * 64),
]


def made(name: str = "tiny", sha256: str = SHA) -> dict[str, Any]:
    """A record."""
    return record.make_record(
        name=name, sha256=sha256, source="local", promoted_by="user:1", policy_version=3, stages=STAGES
    )


def test_it_states_what_was_promoted_and_on_which_grounds() -> None:
    statement = record.statement_of(made())
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"] == [{"name": "tiny", "digest": {"sha256": SHA}}]
    assert statement["predicateType"] == "urn:secai:promotion:v1"
    predicate = statement["predicate"]
    assert predicate.pop("promoted_at").startswith("20")
    assert predicate == {
        "promoted_by": "user:1", "source": "local",
        "software": {"name": "SecAI", "version": django_settings.VERSION},
        "verdicts": {
            name: {"verdict": "pass", "version": "2"} for name in ("source_policy", "provenance", "static_scan")
        },
        "policy": {"version": 3, "sha256": "b" * 64},
        "manifest_root": "c" * 64, "fingerprint": "d" * 64, "template_sha256": "e" * 64, "signer": SIGNER,
    }  # fmt: skip


def test_a_record_is_genuine_and_about_one_model() -> None:
    envelope = json.loads(json.dumps(made()))
    assert record.record_is_genuine(envelope)
    assert record.is_record_of(envelope, name="tiny", sha256=SHA)
    assert not record.is_record_of(envelope, name="other", sha256=SHA)
    assert not record.is_record_of(envelope, name="tiny", sha256="b" * 64)


def test_anybody_with_the_public_key_can_check_it() -> None:
    envelope = made()
    payload = base64.b64decode(envelope["payload"])
    signature = envelope["signatures"][0]
    key = load_pem_public_key(record.public_key_pem().encode())
    assert isinstance(key, Ed25519PublicKey)
    signed = f"DSSEv1 28 {envelope['payloadType']} {len(payload)} ".encode() + payload
    key.verify(base64.b64decode(signature["sig"]), signed)
    with pytest.raises(InvalidSignature):
        key.verify(base64.b64decode(signature["sig"]), payload)
    body = "".join(record.public_key_pem().splitlines()[1:-1])
    assert signature["keyid"] == record.key_id() == hashlib.sha256(base64.b64decode(body)).hexdigest()


def test_the_key_is_made_at_first_use_for_its_owner_alone() -> None:
    assert not KEY.exists()
    first = record.key_id()
    assert stat.S_IMODE(KEY.stat().st_mode) == 0o600
    assert record.key_id() == first


def changed(envelope: dict[str, Any], **parts: Any) -> dict[str, Any]:
    return {**copy.deepcopy(envelope), **parts}


def forgeries() -> dict[str, Any]:
    """Records that this box did not make."""
    good = made()
    statement = json.loads(base64.b64decode(good["payload"]))
    statement["subject"][0]["digest"]["sha256"] = "b" * 64
    stranger = Ed25519PrivateKey.generate().sign(b"anything")
    return {
        "nothing": {},
        "the former form": {"name": "tiny", "sha256": SHA, "seal": "0" * 64},
        "another statement": changed(good, payload=base64.b64encode(json.dumps(statement).encode()).decode()),
        "another signer": changed(good, signatures=[{"keyid": "", "sig": base64.b64encode(stranger).decode()}]),
        "no signature": changed(good, signatures=[]),
        "two signatures": changed(good, signatures=good["signatures"] * 2),
        "an empty signature": changed(good, signatures=[{"keyid": "", "sig": ""}]),
        "no base64": changed(good, payload="?"),
        "no ASCII": changed(good, payload="ä"),
        "another type": changed(good, payloadType="text/plain"),
        "more": changed(good, more=1),
        "numbers": {"payloadType": 1, "payload": 2, "signatures": 3},
    }  # fmt: skip


def test_no_other_record_is_genuine() -> None:
    for name, envelope in forgeries().items():
        assert not record.record_is_genuine(envelope), name
        assert not record.is_record_of(envelope, name="tiny", sha256=SHA), name
        with pytest.raises(record.RecordInvalid):
            record.statement_of(envelope)


def test_a_record_of_another_box_is_not_genuine() -> None:
    envelope = made()
    KEY.unlink()
    assert not record.record_is_genuine(envelope)


def with_record() -> Artifact:
    """A model whose record was made with the key."""
    row = promoted()
    row.record = made(row.name, row.sha256)
    row.save()
    return row


def test_a_lost_key_is_told_and_not_replaced() -> None:
    row = with_record()
    KEY.unlink()
    for use in (made, record.public_key_pem, lambda: record.record_is_genuine(row.record)):
        with pytest.raises(record.PromotionKeyUnusable, match="backup"):
            use()
    assert not KEY.exists()


def test_a_key_that_others_can_read_is_not_used() -> None:
    row = with_record()
    KEY.chmod(0o644)
    with pytest.raises(record.PromotionKeyUnusable) as error:
        record.record_is_genuine(row.record)
    assert str(django_settings.SECAI_HOME) not in error.value.message
