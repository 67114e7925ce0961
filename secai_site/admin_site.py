"""The operators' admin: Django's, with a dashboard of health on its first page."""

from datetime import timedelta
from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils import timezone

from secai_site.kernel.audit.models import AuditEvent, AuditHead


class OperatorSite(AdminSite):
    """Reachable for operators only; its sign-in is the product's own page."""

    site_header = "SecAI operator"
    site_title = "SecAI"
    index_title = "This box"
    site_url = "/"
    login_template = None

    def has_permission(self, request: HttpRequest) -> bool:
        user = request.user
        return bool(user.is_authenticated and user.is_active and getattr(user, "is_operator", False))

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        return super().index(request, {**(extra_context or {}), "dashboard": dashboard()})


def dashboard() -> list[dict[str, str]]:
    """Rows of `{"title", "value", "state": "ok"|"warn"|"bad"}` computed from facts."""
    from registry.models import Artifact, QuarantineItem
    from secai_site.kernel.jobs.models import Job
    from ui.catalog.listing import engine_status

    engine = engine_status()
    refused = AuditEvent.objects.filter(outcome="refused", at__gt=timezone.now() - timedelta(days=1)).count()
    head = AuditHead.objects.filter(id=1).first()
    failed = Artifact.objects.exclude(status="promoted").count()
    waiting = QuarantineItem.objects.filter(status__in=("waiting", "scanning", "held")).count()
    jobs = Job.objects.filter(state="failed").count()
    return [
        _row("Engine", engine.state if engine else "down", "ok" if engine else "bad"),
        _row("Model in memory", (engine.model if engine else None) or "none", "ok"),
        _row("Models out of use", str(failed), "bad" if failed else "ok"),
        _row("Files in quarantine", str(waiting), "warn" if waiting else "ok"),
        _row("Refusals in 24 hours", str(refused), "warn" if refused else "ok"),
        _row("Failed work", str(jobs), "warn" if jobs else "ok"),
        _row("Audit events", str(head.count if head else 0), "ok"),
    ]


def _row(title: str, value: str, state: str) -> dict[str, str]:
    return {"title": title, "value": value, "state": state}
