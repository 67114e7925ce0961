"""Whether the person who asked for a long work may still have it, asked again while it runs."""

import hashlib

from django.utils.crypto import constant_time_compare

from secai_site.kernel.auth.models import ApiKey, User
from secai_site.kernel.auth.principal import Principal
from secai_site.kernel.auth.scopes import Scope


def credential_of(caller: Principal) -> str:
    """What `caller` asked with, in a form that is told from a revoked one and is no secret itself.

    A session may end while a download goes on; a changed password ends it.
    """
    if caller.kind == "session" and caller.user is not None:
        return f"session:{_password_mark(caller.user)}"
    return f"{caller.kind}:{caller.credential}"


def still_stands(owner_id: int | None, credential: str) -> bool:
    """Whether the credential is good and its owner may manage models."""
    kind, _, mark = credential.partition(":")
    if owner_id is None:
        return kind == "service"
    owner = User.objects.filter(pk=owner_id, is_active=True).first()
    if owner is None or Scope.MODELS not in owner.scopes:
        return False
    match kind:
        case "key":
            key = ApiKey.objects.live().select_related("owner").filter(pk=int(mark)).first()
            return key is not None and Scope.MODELS in key.granted
        case "session":
            return constant_time_compare(mark, _password_mark(owner))
    return kind == "service"


def _password_mark(user: User) -> str:
    return hashlib.sha256(user.get_session_auth_hash().encode()).hexdigest()
