"""Keys that the operator trusts: which are taken, which are refused, and that each change is recorded."""

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from registry import trusted
from registry.models import TrustedKey
from tests.support.signing import PEM, Elliptic, Minisign, pem_of

pytestmark = pytest.mark.django_db

MINISIGN = Minisign()
ELLIPTIC = Elliptic()
TAKEN = {
    "minisign": (MINISIGN.public(), "minisign"),
    "minisign without its comment": (MINISIGN.public().splitlines()[1], "minisign"),
    "minisign from another system": (MINISIGN.public().replace("\n", "\r\n"), "minisign"),
    "Ed25519": (pem_of(Ed25519PrivateKey.generate()), "pem"),
    "P-256": (ELLIPTIC.public(), "pem"),
    "P-384": (Elliptic(ec.generate_private_key(ec.SECP384R1())).public(), "pem"),
    "P-521": (Elliptic(ec.generate_private_key(ec.SECP521R1())).public(), "pem"),
    "with space around": (f"\n\n {ELLIPTIC.public()} \n", "pem"),
}


@pytest.mark.parametrize("name", TAKEN)
def test_a_public_key_is_taken(name: str, audited: Any) -> None:
    text, kind = TAKEN[name]
    key = trusted.add_key(name=" Ann ", text=text, actor="user:1")
    assert trusted.trusted_keys() == [key]
    assert (key.name, key.kind, key.added_by, len(key.fingerprint)) == ("Ann", kind, "user:1", 64)
    assert trusted.trusted_signers()[0].evidence() == {
        "name": "Ann", "kind": kind, "fingerprint": key.fingerprint,
    }  # fmt: skip
    event = audited("registry.key:trusted")[0]
    assert (event["actor"], event["target"]) == ("user:1", f"key:{key.fingerprint}")
    assert event["detail"] == {"name": "Ann", "kind": kind}


def pem(key: Any) -> str:
    """A public key of some kind, in PEM."""
    return str(key.public_key().public_bytes(*PEM).decode())


REFUSED = {
    "nothing": ("", "not a public key"),
    "garbage": ("hello", "not a public key"),
    "a long text": ("A" * 5000, "too long"),
    "base64 of something else": (base64.b64encode(bytes(42)).decode(), "not a public key"),
    "three lines": ("a\nb\nc", "not a public key"),
    "a private key": (ELLIPTIC.private(), "private key"),
    "a minisign secret key": (MINISIGN.secret(), "private key"),
    "a minisign secret key without its comment": (MINISIGN.secret().splitlines()[1], "private key"),
    "private beside public": (ELLIPTIC.public() + ELLIPTIC.private(), "private key"),
    "two keys": (ELLIPTIC.public() * 2, "one public key"),
    "a certificate": ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "one public key"),
    "broken PEM": ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "cannot be read"),
    "short RSA": (pem(rsa.generate_private_key(65537, 2048)), "shorter than 3072"),
    "RSA": (pem(rsa.generate_private_key(65537, 3072)), "RSA"),
    "DSA": (pem(dsa.generate_private_key(2048)), "this kind"),
    "Ed448": (pem(ed448.Ed448PrivateKey.generate()), "this kind"),
    "another curve": (pem(ec.generate_private_key(ec.SECP256K1())), "this kind"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_anything_else_is_refused_with_what_to_do(name: str, audited: Any) -> None:
    text, words = REFUSED[name]
    with pytest.raises(trusted.KeyRefused) as refusal:
        trusted.add_key(name="Ann", text=text, actor="user:1")
    assert words in refusal.value.message
    assert "PEM public key" in refusal.value.message or "paste the public key" in refusal.value.message
    assert not TrustedKey.objects.exists()
    assert not audited("registry.key:trusted")


@pytest.mark.parametrize("name", ["", "   ", "a" * 121, "a\nb", "a\u202eb", "a\0b"])
def test_a_key_needs_a_visible_name(name: str) -> None:
    with pytest.raises(trusted.KeyRefused):
        trusted.add_key(name=name, text=MINISIGN.public(), actor="user:1")
    assert not TrustedKey.objects.exists()


def test_the_same_key_and_the_same_name_are_taken_once(audited: Any) -> None:
    trusted.add_key(name="Ann", text=MINISIGN.public(), actor="user:1")
    with pytest.raises(trusted.KeyKnown, match="as “Ann”"):
        trusted.add_key(name="Bob", text=MINISIGN.public(), actor="user:1")
    with pytest.raises(trusted.KeyKnown, match="of this name"):
        trusted.add_key(name="Ann", text=Minisign().public(), actor="user:1")
    assert TrustedKey.objects.count() == 1
    assert len(audited("registry.key:trusted")) == 1


def test_a_key_is_removed_once(audited: Any) -> None:
    key = trusted.add_key(name="Ann", text=MINISIGN.public(), actor="user:1")
    stale = TrustedKey.objects.get()
    trusted.remove_key(key=key, actor="user:2")
    trusted.remove_key(key=stale, actor="user:2")
    assert trusted.trusted_keys() == []
    events = audited("registry.key:removed")
    assert [(one["actor"], one["target"]) for one in events] == [("user:2", f"key:{stale.fingerprint}")]
