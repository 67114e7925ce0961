"""People, their sessions and their API keys."""

import uuid
from typing import Any, ClassVar, Self

from django.contrib.auth.models import AbstractUser, UserManager
from django.contrib.sessions.base_session import AbstractBaseSession, BaseSessionManager
from django.db import models
from django.utils import timezone

from secai_site.kernel.auth.scopes import Role, Scope, key_scopes, role_scopes


def role_choices() -> list[tuple[str, str]]:
    """Callable, so that a new role needs no migration."""
    return [(role.value, role.value.capitalize()) for role in Role]


class UserWithRoleManager(UserManager["User"]):
    """Makes superusers operators, so that Django's own command cannot create half an operator."""

    def create_superuser(
        self, username: str, email: str | None = None, password: str | None = None, **extra: Any
    ) -> "User":
        return super().create_superuser(username, email, password, **{"role": Role.OPERATOR.value, **extra})


class User(AbstractUser):
    """A person. The role decides everything; Django's staff and superuser flags follow it."""

    role = models.CharField(max_length=20, choices=role_choices, default=Role.MEMBER.value)

    objects: ClassVar[UserWithRoleManager] = UserWithRoleManager()

    class Meta:
        verbose_name = "person"
        verbose_name_plural = "people"

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.is_staff = self.is_superuser = self.is_operator
        super().save(*args, **kwargs)

    @property
    def is_operator(self) -> bool:
        """Whether this person answers for the box."""
        return self.role == Role.OPERATOR

    @property
    def scopes(self) -> frozenset[Scope]:
        """What this person may do when signed in."""
        return role_scopes(self.role) if self.is_active else frozenset()


class Session(AbstractBaseSession):
    """A signed-in browser. Tied to its person, so that it can be listed and ended."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    user = models.ForeignKey(User, null=True, blank=True, on_delete=models.CASCADE, related_name="sessions")
    created_at = models.DateTimeField(default=timezone.now)
    agent = models.CharField(max_length=200, blank=True, default="")

    objects: ClassVar[BaseSessionManager[Self]] = BaseSessionManager()

    class Meta(AbstractBaseSession.Meta):
        verbose_name = "session"
        verbose_name_plural = "sessions"

    @classmethod
    def get_session_store_class(cls) -> Any:
        from secai_site.kernel.auth.sessions import SessionStore

        return SessionStore


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def live(self) -> "ApiKeyQuerySet":
        """Keys that work now: not revoked, not expired, their owner active."""
        now = timezone.now()
        return self.filter(
            models.Q(expires_at=None) | models.Q(expires_at__gt=now), revoked_at=None, owner__is_active=True
        )


class ApiKey(models.Model):
    """A program's credential. Only a hash of the secret is kept."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=100)
    owner = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_keys")
    prefix = models.CharField(max_length=12, unique=True)
    secret_sha256 = models.CharField(max_length=64)
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"
        verbose_name_plural = "API keys"
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return f"{self.name} (secai_{self.prefix}…)"

    @property
    def granted(self) -> frozenset[Scope]:
        """What this key may do, given its owner's role today."""
        return key_scopes(self.scopes, self.owner.role) if self.owner.is_active else frozenset()

    @property
    def is_live(self) -> bool:
        """Whether the key works now."""
        return (
            self.revoked_at is None
            and (self.expires_at is None or self.expires_at > timezone.now())
            and self.owner.is_active
        )


class SetupCode(models.Model):
    """The one-time code with which the first operator claims a fresh box; only its hash is kept."""

    code_sha256 = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"set-up code, good until {self.expires_at:%Y-%m-%d %H:%M}"
