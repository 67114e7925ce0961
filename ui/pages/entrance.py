"""Coming in and going out: counting attempts, opening and ending the session, and the record of both."""

from django.contrib.auth import login, logout, update_session_auth_hash
from django.contrib.auth.forms import PasswordChangeForm
from django.db import transaction
from django.http import HttpRequest

from secai_site.kernel.audit.log import record, record_refusal
from secai_site.kernel.auth.models import Session, User
from secai_site.kernel.auth.people import end_session, end_sessions
from secai_site.kernel.limits.rates import count

RATE = "sign_in"
STARTED = "auth.session:started"
PASSWORD_CHANGED = "auth.person:password_changed"  # noqa: S105


def count_attempt(request: HttpRequest, *, username: str = "") -> None:
    """Count an attempt by address and by name; raises `TooMany` before any password is looked at."""
    count(request, rate="address", key=f"ip:{request.META.get('REMOTE_ADDR', '')}")
    if username:
        count(request, rate=RATE, key=f"name:{username.strip().casefold()[:150]}")


def start_session(request: HttpRequest, user: User) -> None:
    """Sign `user` in under a new session key; without the audit event there is no session."""
    with transaction.atomic():
        record(STARTED, actor=f"user:{user.pk}", target=f"user:{user.pk}")
        login(request, user)


def refuse_session(username: str) -> None:
    """Record a wrong name or password. An unknown name is not written down: it may be a password."""
    user = User.objects.filter(username=username).first()
    target = f"user:{user.pk}" if user else "unknown name"
    record_refusal(STARTED, actor="nobody", target=target, code="auth.password")


def leave(request: HttpRequest) -> None:
    """Sign this browser out; its open connections end within a second."""
    user = request.user
    if isinstance(user, User):
        session = Session.objects.filter(session_key=request.session.session_key, user=user).first()
        if session is not None:
            end_session(session=session, actor=f"user:{user.pk}")
    logout(request)


def change_password(request: HttpRequest, form: PasswordChangeForm) -> int:
    """Set the new password, keep this browser signed in, end the other sessions; returns how many ended."""
    user = form.user
    assert isinstance(user, User)
    actor = f"user:{user.pk}"
    with transaction.atomic():
        record(PASSWORD_CHANGED, actor=actor, target=actor)
        form.save()
        update_session_auth_hash(request, user)
        request.session.save()
    return end_sessions(user=user, actor=actor, keep=request.session.session_key)
