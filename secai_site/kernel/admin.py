"""What admin pages share: reading is the rule, changing goes through services and says what it did."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import Model
from django.http import HttpRequest

from secai_site.kernel.errors import ServiceError

if TYPE_CHECKING:
    Page = admin.ModelAdmin[Any]
else:  # generic for the type checker alone
    Page = admin.ModelAdmin


class ReadOnlyAdmin(Page):
    """Shows rows; nothing is added, changed or deleted here."""

    list_per_page = 50
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


def actor_of(request: HttpRequest) -> str:
    """The operator's name in the audit log."""
    return f"user:{request.user.pk}"


def tell(admin_page: "Page", request: HttpRequest, done: int, what: str, error: str = "") -> None:
    """Say what an action did, and why it stopped if it did."""
    if done:
        admin_page.message_user(request, f"{done} {what}.", messages.SUCCESS)
    if error:
        admin_page.message_user(request, error, messages.ERROR)


def each(rows: Any, change: Any) -> tuple[int, str]:
    """Apply a service to each row until one refuses: how many were done, and the refusal."""
    done = 0
    for row in rows:
        try:
            change(row)
        except ServiceError as error:
            return done, f"{row}: {error.message}"
        done += 1
    return done, ""
