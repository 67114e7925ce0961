"""The public keys whose signatures on models the operator trusts."""

from django.db import IntegrityError, transaction

from registry.models import TrustedKey
from registry.quarantine.plain import plain
from registry.quarantine.signatures.keys import KeyUnusableError, PublicKey, TrustedSigner, public_key
from secai_site.kernel.audit.log import record
from secai_site.kernel.errors import Conflict, InvalidRequest

MAX_NAME = 120


class KeyRefused(InvalidRequest):
    """The text is no public key that this box can use, or its name is no good."""

    code = "key.refused"


class KeyKnown(Conflict):
    """A key of this name, or this very key, is trusted already."""

    code = "key.known"


def trusted_keys() -> list[TrustedKey]:
    """All trusted keys, by name."""
    return list(TrustedKey.objects.all())


def trusted_signers() -> list[TrustedSigner]:
    """The trusted keys in the form that signatures are checked with."""
    return [TrustedSigner(row.name, public_key(row.public_key)) for row in TrustedKey.objects.all()]


@transaction.atomic(durable=True)
def add_key(*, name: str, text: str, actor: str) -> TrustedKey:
    """Trust a public key, given as minisign's text or as PEM; raises `KeyRefused`, `KeyKnown`.

    Models that are in quarantine have to be scanned again to profit from it.
    """
    name = name.strip()
    if not 1 <= len(name) <= MAX_NAME or plain(name, MAX_NAME) != name:
        raise KeyRefused(
            "Give the key a name of 1 to 120 visible characters: whose key is it?", code="key.name"
        )
    row = _insert(name, _checked(text), actor)
    record(
        "registry.key:trusted", actor=actor, target=f"key:{row.fingerprint}",
        detail={"name": row.name, "kind": row.kind},
    )  # fmt: skip
    return row


@transaction.atomic(durable=True)
def remove_key(*, key: TrustedKey, actor: str) -> None:
    """Trust a key no longer. Models that it let in stay; their record keeps the signer's fingerprint."""
    removed, _ = TrustedKey.objects.filter(pk=key.pk).delete()
    if removed:
        record(
            "registry.key:removed", actor=actor, target=f"key:{key.fingerprint}", detail={"name": key.name}
        )


def _checked(text: str) -> PublicKey:
    try:
        return public_key(text)
    except KeyUnusableError as error:
        raise KeyRefused(str(error)) from error


def _insert(name: str, key: PublicKey, actor: str) -> TrustedKey:
    try:
        with transaction.atomic():
            return TrustedKey.objects.create(
                name=name, kind=key.kind, public_key=key.text, fingerprint=key.fingerprint, added_by=actor
            )
    except IntegrityError:
        known = TrustedKey.objects.filter(fingerprint=key.fingerprint).first()
        which = (
            f"this key is trusted already, as “{known.name}”"
            if known
            else "a key of this name is trusted already"
        )
        raise KeyKnown(f"Nothing was changed: {which}.") from None
