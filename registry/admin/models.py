"""Models and quarantine for operators."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from registry import services
from registry.models import Artifact, QuarantineItem, StageResult
from secai_site.kernel.admin import ReadOnlyAdmin, actor_of, each, tell


@admin.register(Artifact)
class ArtifactAdmin(ReadOnlyAdmin):
    """Promoted models. Deleting one is done on the Models page, which knows whether it is loaded."""

    list_display = ("name", "status", "format", "size_bytes", "source", "promoted_at", "verified_at")
    list_filter = ("status", "format")
    search_fields = ("name", "sha256")


class StageInline(admin.TabularInline):  # type: ignore[type-arg]
    """Each stage's verdict."""

    model = StageResult
    fields = readonly_fields = ("name", "verdict", "reason", "duration_ms", "version")
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(QuarantineItem)
class QuarantineAdmin(ReadOnlyAdmin):
    """Files in quarantine, with what each stage said."""

    list_display = ("name", "status", "reason", "size_bytes", "source", "submitted_by", "created_at")
    list_filter = ("status",)
    search_fields = ("name", "filename", "sha256")
    date_hierarchy = "created_at"
    inlines = (StageInline,)
    actions = ("promote", "rescan", "drop")

    @admin.action(description="Promote (only files that passed and are held)", permissions=["view"])
    def promote(self, request: HttpRequest, queryset: QuerySet[QuarantineItem]) -> None:
        """Publish the chosen files as models."""
        done, error = each(queryset, lambda item: services.promote_item(item=item, actor=actor_of(request)))
        tell(self, request, done, "models promoted", error)

    @admin.action(description="Scan again", permissions=["view"])
    def rescan(self, request: HttpRequest, queryset: QuerySet[QuarantineItem]) -> None:
        """Queue another scan."""
        done, error = each(queryset, lambda item: services.rescan(item=item, actor=actor_of(request)))
        tell(self, request, done, "scans queued", error)

    @admin.action(description="Drop (deletes the file)", permissions=["view"])
    def drop(self, request: HttpRequest, queryset: QuerySet[QuarantineItem]) -> None:
        """Delete the chosen files from quarantine."""
        done, error = each(queryset, lambda item: services.drop(item=item, actor=actor_of(request)))
        tell(self, request, done, "files dropped", error)
