"""The audit log for operators: to read, never to change."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from secai_site.kernel.admin import ReadOnlyAdmin
from secai_site.kernel.audit.models import AuditEvent
from secai_site.kernel.audit.verify import verify


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    """Events, newest first."""

    list_display = ("sequence", "at", "action", "actor", "target", "outcome")
    list_filter = ("outcome", "at")
    search_fields = ("action", "actor", "target")
    date_hierarchy = "at"
    fields = ("sequence", "at", "action", "actor", "target", "outcome", "detail", "mac")
    actions = ("verify_chain",)

    @admin.action(description="Verify the whole chain", permissions=["view"])
    def verify_chain(self, request: HttpRequest, _queryset: QuerySet[AuditEvent]) -> None:
        """Read the chain back and say whether it is intact."""
        result = verify()
        if result.ok:
            self.message_user(request, f"The audit log is intact: {result.checked} events.", messages.SUCCESS)
        else:
            self.message_user(request, f"The audit log is NOT intact: {result.problem}.", messages.ERROR)
