"""Recurring work on people's credentials."""

from typing import Any

from django.utils import timezone

from secai_site.kernel.auth.models import Session
from secai_site.kernel.jobs.queue import job
from secai_site.kernel.jobs.worker import JobContext


@job("auth.clear_sessions", every=lambda: 6 * 3600)
def clear_sessions(_context: JobContext) -> dict[str, Any]:
    """Delete sessions that have expired."""
    cleared, _ = Session.objects.filter(expire_date__lt=timezone.now()).delete()
    return {"cleared": cleared}
