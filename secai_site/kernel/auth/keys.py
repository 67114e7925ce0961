"""API keys: making, checking, revoking.

A key reads `secai_<prefix>_<secret>`; the prefix finds the row, the secret (256 bits) is compared by hash. A
plain SHA-256 suffices for a secret that cannot be guessed.
"""

import contextlib
import hashlib
import hmac
import re
import secrets
from datetime import datetime, timedelta

from django.db import DatabaseError, transaction
from django.utils import timezone

from secai_site.kernel.audit.log import record
from secai_site.kernel.auth.models import ApiKey, User
from secai_site.kernel.auth.scopes import Scope, role_scopes
from secai_site.kernel.errors import InvalidRequest, NotFound, NotSignedIn

FORM = re.compile(r"secai_([a-z0-9]{8})_([A-Za-z0-9_-]{43})")
PREFIX_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
LAST_USED_STEP = timedelta(minutes=1)
_touched: dict[int, datetime] = {}


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


@transaction.atomic(durable=True)
def create_key(
    *, owner: User, name: str, scopes: list[str], expires_at: datetime | None, actor: str
) -> tuple[ApiKey, str]:
    """Make a key and return its row and the key itself, which is shown once and kept nowhere.

    Raises `InvalidRequest` for no scope, an unknown scope, a scope that the owner's role lacks, or a past
    expiry.
    """
    unknown = sorted(set(scopes) - set(Scope))
    if unknown or not scopes:
        raise InvalidRequest(
            f"Name at least one of these scopes: {', '.join(Scope)}. Unknown: {', '.join(unknown) or 'none'}.",
            code="key.scope",
        )
    lacking = sorted(set(scopes) - set(role_scopes(owner.role)))
    if lacking:
        raise InvalidRequest(
            f"{owner.username} is a {owner.role} and cannot give a key the scope {', '.join(lacking)}.",
            code="key.scope",
        )
    if expires_at is not None and expires_at <= timezone.now():
        raise InvalidRequest("The expiry lies in the past.", code="key.expiry")
    prefix = "".join(secrets.choice(PREFIX_ALPHABET) for _ in range(8))
    secret = secrets.token_urlsafe(32)
    key = ApiKey.objects.create(
        owner=owner, name=name, prefix=prefix, secret_sha256=_hash(secret), scopes=sorted(set(scopes)),
        expires_at=expires_at,
    )  # fmt: skip
    record("auth.key:created", actor=actor, target=f"key:{key.pk}", detail={"scopes": key.scopes})
    return key, f"secai_{prefix}_{secret}"


@transaction.atomic(durable=True)
def revoke_key(*, key: ApiKey, actor: str) -> ApiKey:
    """End a key for good; open connections that it authorised end within a second. Idempotent."""
    changed = ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now())
    if changed:
        record("auth.key:revoked", actor=actor, target=f"key:{key.pk}")
    key.refresh_from_db()
    return key


def find_key(presented: str) -> ApiKey:
    """Return the live key that `presented` is; raises `NotSignedIn` for anything else."""
    match = FORM.fullmatch(presented)
    row = ApiKey.objects.select_related("owner").filter(prefix=match[1]).first() if match else None
    expected = row.secret_sha256 if row else _hash("")
    good = hmac.compare_digest(_hash(match[2] if match else "-"), expected)
    if row is None or not good:
        raise NotSignedIn("This API key is not known here.", code="auth.key")
    if not row.is_live:
        raise NotSignedIn("This API key was revoked or has expired.", code="auth.key")
    _touch(row)
    return row


def _touch(row: ApiKey) -> None:
    """Keep the time of last use, a minute exact, so that reading costs no write; best effort."""
    now = timezone.now()
    last = _touched.get(row.pk) or row.last_used_at
    if last is None or now - last > LAST_USED_STEP:
        _touched[row.pk] = now
        with contextlib.suppress(DatabaseError):  # a locked database must not stop a reader
            ApiKey.objects.filter(pk=row.pk).update(last_used_at=now)


def own_key(*, owner: User, public_id: str) -> ApiKey:
    """The key with this public id if `owner` may see it; raises `NotFound` for strangers."""
    keys = ApiKey.objects.all() if owner.is_operator else owner.api_keys.all()
    key = keys.filter(public_id=public_id).first()
    if key is None:
        raise NotFound("There is no such API key.")
    return key
