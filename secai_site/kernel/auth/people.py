"""Claiming a fresh box, and changes to people and their sessions."""

import hashlib
import secrets
from datetime import timedelta

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from secai_site.kernel.audit.log import record
from secai_site.kernel.auth.models import Session, SetupCode, User
from secai_site.kernel.auth.scopes import Role
from secai_site.kernel.errors import Conflict, InvalidRequest, NotAllowed, NotFound

SETUP_CODE_LIFE = timedelta(hours=24)


def _hash(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


def box_is_claimed() -> bool:
    """Whether anybody lives here: the first person is always an operator, and the last operator stays one."""
    return User.objects.exists()


def is_last_operator(user: User) -> bool:
    """Whether nobody else could look after the box."""
    operators = User.objects.filter(role=Role.OPERATOR.value, is_active=True)
    return operators.filter(pk=user.pk).exists() and not operators.exclude(pk=user.pk).exists()


@transaction.atomic(durable=True)
def new_setup_code() -> str:
    """A fresh one-time code for claiming the box; earlier ones stop working. Raises `Conflict` once claimed."""
    if box_is_claimed():
        raise Conflict("This box already has an operator.", code="setup.done")
    SetupCode.objects.all().delete()
    code = secrets.token_urlsafe(24)
    SetupCode.objects.create(code_sha256=_hash(code), expires_at=timezone.now() + SETUP_CODE_LIFE)
    record("auth.setup:code_made", actor="console", target="setup")
    return code


def setup_code_is_good(code: str) -> bool:
    """Whether `code` can claim the box now."""
    good = SetupCode.objects.filter(code_sha256=_hash(code), expires_at__gt=timezone.now()).exists()
    return good and not box_is_claimed()


@transaction.atomic(durable=True)
def claim_box(*, code: str, username: str, password: str) -> User:
    """Make the first operator. The code works once; raises `NotAllowed` for a wrong, used or old one."""
    used, _ = SetupCode.objects.filter(code_sha256=_hash(code), expires_at__gt=timezone.now()).delete()
    if not used or box_is_claimed():
        raise NotAllowed(
            "This set-up link is not good (any more). Get a new one on the box with: manage.py setup_link",
            code="setup.code",
        )
    return _create(username=username, password=password, role=Role.OPERATOR, actor="setup")


@transaction.atomic(durable=True)
def create_person(*, username: str, password: str, role: Role, actor: str) -> User:
    """Add a person; raises `InvalidRequest` for a taken name or a weak password."""
    return _create(username=username, password=password, role=role, actor=actor)


def _create(*, username: str, password: str, role: Role, actor: str) -> User:
    user = User(username=User.normalize_username(username), role=role.value)
    try:
        user.full_clean(exclude=["password"])
        validate_password(password, user)
    except ValidationError as error:
        raise InvalidRequest(" ".join(error.messages), code="person.invalid") from error
    user.set_password(password)
    user.save()
    if role is Role.OPERATOR:
        SetupCode.objects.all().delete()
    record("auth.person:created", actor=actor, target=f"user:{user.pk}", detail={"role": role.value})
    return user


@transaction.atomic(durable=True)
def end_session(*, session: Session, actor: str) -> None:
    """Sign a browser out; its open connections end within a second."""
    Session.objects.filter(pk=session.pk).delete()
    record("auth.session:ended", actor=actor, target=f"session:{session.public_id}")


@transaction.atomic(durable=True)
def end_sessions(*, user: User, actor: str, keep: str | None = None) -> int:
    """Sign a person out everywhere (but in the browser `keep`); returns how many sessions ended."""
    ended, _ = Session.objects.filter(user=user).exclude(session_key=keep or "").delete()
    record("auth.session:all_ended", actor=actor, target=f"user:{user.pk}", detail={"ended": ended})
    return ended


def own_session(*, user: User, public_id: str) -> Session:
    """One of the person's sessions; raises `NotFound` for strangers."""
    session = Session.objects.filter(user=user, public_id=public_id).first()
    if session is None:
        raise NotFound("There is no such session.")
    return session
