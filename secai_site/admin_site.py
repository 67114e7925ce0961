"""The operators' admin: Django's, with a dashboard of health on its first page."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.admin import AdminSite
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.decorators import method_decorator

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

    @method_decorator(login_not_required)
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """To the product's own page: Django's would neither count attempts nor record them."""
        if request.user.is_authenticated:
            raise PermissionDenied
        return redirect_to_login(request.GET.get("next", "/admin/"), settings.LOGIN_URL)

    def password_change(  # type: ignore[override]
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """To the product's own page, which records the change and ends the other sessions."""
        return redirect("/settings")

    def logout(  # type: ignore[override]
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Signing out is done on every page, which ends the session everywhere."""
        return redirect("/settings")

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
