"""What a caller may do: scopes, and which of them a role can give."""

from enum import StrEnum


class Scope(StrEnum):
    """One area of permission; `admin` stands for all."""

    READ = "read"
    CHAT = "chat"
    MODELS = "models"
    TOOLS = "tools"
    EGRESS = "egress"
    AGENT = "agent"
    VAULT = "vault"
    ADMIN = "admin"


class Role(StrEnum):
    """What a person is to this box."""

    OPERATOR = "operator"
    MEMBER = "member"


ALL_SCOPES = frozenset(Scope)

ROLE_SCOPES: dict[str, frozenset[Scope]] = {
    Role.OPERATOR: ALL_SCOPES,
    Role.MEMBER: frozenset({Scope.READ, Scope.CHAT, Scope.AGENT, Scope.VAULT}),
}


def role_scopes(role: str) -> frozenset[Scope]:
    """The scopes of `role`; an unknown role has none."""
    return ROLE_SCOPES.get(role, frozenset())


def key_scopes(named: list[str], role: str) -> frozenset[Scope]:
    """What a key may do: what it names, and never more than its owner's role; `admin` names all."""
    wanted = ALL_SCOPES if Scope.ADMIN in named else frozenset(scope for scope in Scope if scope in named)
    return wanted & role_scopes(role)
