"""Three people, always the same: the operator, a member, and a member who has no business here."""

from dataclasses import dataclass
from functools import cache

from django.contrib.auth.hashers import make_password

from secai_site.kernel.auth import keys
from secai_site.kernel.auth.models import User
from secai_site.kernel.auth.scopes import Role

PASSWORD = "correct horse battery staple"


@cache
def _hashed() -> str:
    """Argon2 takes its time, so the one password of all is hashed once."""
    return make_password(PASSWORD)


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays in a test."""

    operator: User
    member: User
    stranger: User


def person(username: str, role: Role = Role.MEMBER) -> User:
    """Somebody with `PASSWORD`."""
    return User.objects.create(username=username, role=role.value, password=_hashed())


def assemble() -> Cast:
    """All three."""
    return Cast(person("olga", Role.OPERATOR), person("mia"), person("sam"))


def key_of(owner: User, *scopes: str, name: str = "test") -> str:
    """A fresh API key of `owner`, as it is shown once."""
    return keys.create_key(owner=owner, name=name, scopes=list(scopes), expires_at=None, actor="test")[1]
