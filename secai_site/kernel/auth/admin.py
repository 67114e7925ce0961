"""People, sessions and keys for operators."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import UserChangeForm
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from secai_site.kernel.admin import ReadOnlyAdmin, actor_of, each, tell
from secai_site.kernel.audit.log import record
from secai_site.kernel.auth import keys, people
from secai_site.kernel.auth.models import ApiKey, Session, User
from secai_site.kernel.auth.scopes import Role

admin.site.unregister(Group)


class PersonForm(UserChangeForm):  # type: ignore[type-arg]
    """Changing a person; somebody must stay to look after the box."""

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        stays = cleaned.get("role") == Role.OPERATOR and cleaned.get("is_active")
        if not stays and self.instance.pk and people.is_last_operator(self.instance):
            raise ValidationError("This is the last operator. Make somebody else an operator first.")
        return cleaned


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
    form = PersonForm

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and not (obj and people.is_last_operator(obj))

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:  # noqa: A002
        """Set somebody's password, with its event in the same transaction; it ends that person's sessions."""
        with transaction.atomic():
            response: HttpResponse = super().user_change_password(request, id, form_url)
            if request.method == "POST" and response.status_code == 302:
                record("auth.person:password_changed", actor=actor_of(request), target=f"user:{id}")
        return response

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
            if people.is_last_operator(person):
                tell(self, request, 0, "", f"{person} is the last operator and stays.")
            else:
                self.delete_model(request, person)

    @admin.action(description="Sign out everywhere")
    def sign_out_everywhere(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """End all sessions of the chosen people."""
        done, error = each(queryset, lambda person: people.end_sessions(user=person, actor=actor_of(request)))
        tell(self, request, done, "people signed out", error)


@admin.register(Session)
class SessionAdmin(ReadOnlyAdmin):
    """Who is signed in. Rows have no page and no box to tick: both would show the session's key."""

    list_display = ("user", "agent", "created_at", "expire_date")
    list_display_links = None
    list_filter = ("user",)
    actions = None


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
