"""Work for operators: what runs, what failed and why."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from secai_site.kernel.admin import ReadOnlyAdmin, each, tell
from secai_site.kernel.jobs import queue
from secai_site.kernel.jobs.models import Job


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    """Jobs, newest first."""

    list_display = ("kind", "subject", "state", "progress", "stage", "attempts", "created_at", "finished_at")
    list_filter = ("state", "kind")
    search_fields = ("subject", "error")
    date_hierarchy = "created_at"
    actions = ("cancel",)

    @admin.action(description="Cancel", permissions=["view"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Cancel what waits, ask what runs to stop."""
        done, error = each(queryset, lambda job: queue.cancel(job.pk))
        tell(self, request, done, "jobs told to stop", error)
