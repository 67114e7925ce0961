"""Conversations for operators: that they exist and how large they are, never what they say."""

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from secai_site.kernel.admin import ReadOnlyAdmin
from ui.chat.models import Conversation


@admin.register(Conversation)
class ConversationAdmin(ReadOnlyAdmin):
    """Whose, since when, how many messages. Titles and texts belong to their owner and are not shown."""

    list_display = ("id", "owner", "model", "message_count", "created_at", "updated_at", "deleted_at")
    list_filter = ("owner", "model")
    list_select_related = ("owner",)
    date_hierarchy = "created_at"
    fields = ("id", "owner", "model", "created_at", "updated_at", "deleted_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Conversation]:
        rows: QuerySet[Conversation] = super().get_queryset(request)
        return rows.annotate(messages_in_it=Count("messages"))

    @admin.display(description="messages")
    def message_count(self, row: Conversation) -> int:
        """How many messages it has."""
        return int(getattr(row, "messages_in_it", 0))
