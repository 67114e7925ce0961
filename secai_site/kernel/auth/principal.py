"""Who is calling: a person in a browser, a program with a key, or a service of this box."""

from dataclasses import dataclass
from typing import Literal

from secai_site.kernel.auth.models import ApiKey, User
from secai_site.kernel.auth.scopes import ALL_SCOPES, Scope


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller of one request or connection.

    `credential` names what it showed: a session key, an API key's id, a service's name. A service may act
    for a person (`user`), who then owns what it makes.
    """

    kind: Literal["session", "key", "service"]
    credential: str
    user: User | None
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """Whether this caller holds `scope`."""
        return scope in self.scopes

    @property
    def name(self) -> str:
        """How the audit log names the caller, for example `user:3`, `key:7 of user:3` or `service:ui`."""
        match self.kind:
            case "service":
                own = f"service:{self.credential}"
                return f"{own} for user:{self.user.pk}" if self.user else own
            case "key" if self.user:
                return f"key:{self.credential} of user:{self.user.pk}"
            case _:
                return f"user:{self.user.pk}" if self.user else "nobody"

    @property
    def rate_key(self) -> str:
        """What a rate is counted by: the person, over all sessions and keys, or the service and its person."""
        if self.kind != "service" and self.user:
            return f"user:{self.user.pk}"
        return self.name


def of_session(user: User, session_key: str) -> Principal:
    """A person signed in through a browser."""
    return Principal("session", session_key, user, user.scopes)


def of_key(key: ApiKey) -> Principal:
    """A program that showed an API key."""
    return Principal("key", str(key.pk), key.owner, key.granted)


def of_service(caller: str, user: User | None) -> Principal:
    """A service of this box, for itself or for `user`; for a person it may do what that person may."""
    return Principal("service", caller, user, user.scopes if user else ALL_SCOPES)
