"""People, sessions and keys for operators."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest

from secai_site.kernel.admin import ReadOnlyAdmin, actor_of, each, tell
from secai_site.kernel.audit.log import record
from secai_site.kernel.auth import keys, people
from secai_site.kernel.auth.models import ApiKey, Session, User

admin.site.unregister(Group)


@admin.register(User)
class PersonAdmin(UserAdmin):  # type: ignore[type-arg]
    """Adding people and setting their role; the role decides what they may do."""

    list_display = ("username", "role", "is_active", "last_login", "date_joined")
    list_filter = ("role", "is_active")
    search_fields = ("username",)
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("May", {"fields": ("role", "is_active")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = ((None, {"fields": ("username", "usable_password", "password1", "password2", "role")}),)
    filter_horizontal = ()
    readonly_fields = ("last_login", "date_joined")
    actions = ("sign_out_everywhere",)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        detail = {"role": obj.role, "active": obj.is_active, "fields": sorted(form.changed_data)}
        action = "auth.person:changed" if change else "auth.person:created"
        record(action, actor=actor_of(request), target=f"user:{obj.pk}", detail=detail)

    def delete_model(self, request: HttpRequest, obj: User) -> None:
        record("auth.person:deleted", actor=actor_of(request), target=f"user:{obj.pk}")
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        for person in queryset:
            self.delete_model(request, person)

    @admin.action(description="Sign out everywhere")
    def sign_out_everywhere(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """End all sessions of the chosen people."""
        done, error = each(queryset, lambda person: people.end_sessions(user=person, actor=actor_of(request)))
        tell(self, request, done, "people signed out", error)


@admin.register(Session)
class SessionAdmin(ReadOnlyAdmin):
    """Who is signed in; session keys are not shown."""

    list_display = ("user", "agent", "created_at", "expire_date")
    list_filter = ("user",)
    fields = ("user", "agent", "created_at", "expire_date")
    actions = ("end",)

    @admin.action(description="End session", permissions=["view"])
    def end(self, request: HttpRequest, queryset: QuerySet[Session]) -> None:
        """Sign the chosen browsers out."""
        done, error = each(queryset, lambda row: people.end_session(session=row, actor=actor_of(request)))
        tell(self, request, done, "sessions ended", error)


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    """All keys of all people; made on the Settings page or with manage.py apikey."""

    list_display = (
        "name",
        "owner",
        "prefix",
        "scopes",
        "created_at",
        "expires_at",
        "last_used_at",
        "revoked_at",
    )
    list_filter = ("owner",)
    search_fields = ("name", "prefix")
    fields = list_display
    list_select_related = ("owner",)
    actions = ("revoke",)

    @admin.action(description="Revoke", permissions=["view"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """End the chosen keys at once."""
        done, error = each(queryset, lambda key: keys.revoke_key(key=key, actor=actor_of(request)))
        tell(self, request, done, "keys revoked", error)
