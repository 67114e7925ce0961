"""The state of the box: the status line, security, hardware, the audit chain."""

from dataclasses import asdict
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from secai_site.kernel.audit.verify import verify
from secai_site.kernel.auth.scopes import Scope
from secai_site.kernel.http.serializers import Flag, StrictSerializer
from secai_site.kernel.http.views import NotBuilt, ServiceView
from secai_site.kernel.jobs.models import Job, JobState
from ui.catalog.listing import engine_status
from ui.system.gpu import detect_gpu
from ui.system.posture import posture


class Status(ServiceView):
    read_scope = Scope.READ

    def get(self, request: Request) -> Response:
        """What the status line shows."""
        status = engine_status()
        engine: dict[str, Any] = {"state": "down", "model": None, "active": 0, "queued": 0}
        if status is not None:
            engine = asdict(status)
        running = Job.objects.filter(state=JobState.RUNNING.value).order_by("started_at")[:5]
        work = [{"id": str(j.pk), "kind": j.kind, "stage": j.stage, "progress": j.progress} for j in running]
        return Response(
            {
                "vault": {"status": "uninitialized"},
                "engine": engine,
                "network": {"door": "closed"},
                "work": work,
            }
        )


class SecurityStatus(ServiceView):
    read_scope = Scope.READ

    def get(self, request: Request) -> Response:
        """The overall state, each field true to the facts of this moment."""
        return Response(posture())


class AuditVerify(ServiceView):
    read_scope = Scope.ADMIN

    def get(self, request: Request) -> Response:
        """Read the audit chain back: is every event there, unchanged and in order?"""
        return Response(asdict(verify()))


class GpuRequest(StrictSerializer):
    """POST /api/vm/gpu"""

    enabled = Flag(required=False)


class Gpu(ServiceView):
    forms = {"POST": GpuRequest}
    read_scope = Scope.READ
    write_scope = Scope.READ

    def post(self, request: Request) -> Response:
        """What graphics processor there is."""
        body = self.body()
        if "enabled" in body:
            raise NotBuilt(
                "Switching the GPU on and off is not built into this version yet. Nothing was done."
            )
        return Response(detect_gpu())
