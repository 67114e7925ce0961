"""What the views of all services share."""

import os
from collections.abc import Mapping
from typing import Any, ClassVar

from django.conf import settings
from django.db import DatabaseError, connection
from rest_framework.permissions import SAFE_METHODS, AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from secai_site.kernel.auth.permissions import principal_of
from secai_site.kernel.auth.principal import Principal
from secai_site.kernel.auth.scopes import Scope
from secai_site.kernel.errors import InvalidRequest, ServiceError
from secai_site.kernel.http.middleware import listener_of
from secai_site.kernel.http.serializers import NoFields

Form = type[BaseSerializer[Any]]
SPARE_BYTES = 8 * 1024 * 1024  # below this nothing can be written down any more


class ServiceView(APIView):
    """A view of the HTTP API.

    Name the scopes: without a `write_scope` only `admin` may change anything. `forms` says by method what body
    the view reads, `query` what its GET reads from the URL; the OpenAPI document shows the same.
    """

    forms: ClassVar[Mapping[str, Form]] = {}
    query: ClassVar[Form | None] = None
    answers_list: ClassVar[bool] = False
    read_scope: ClassVar[Scope | None] = Scope.READ
    write_scope: ClassVar[Scope | None] = None
    rate: ClassVar[str] = "write"
    body_limit: ClassVar[int] = settings.BODY_LIMIT

    @property
    def caller(self) -> Principal:
        """Who is calling."""
        return principal_of(self.request)

    def body(self) -> dict[str, Any]:
        """The validated body; raises `InvalidRequest` for one that is no JSON object."""
        data = self.request.data
        if not isinstance(data, dict):
            raise InvalidRequest("Send one JSON object.", code="json.object")
        return _validated(self.forms.get(self.request.method or "", NoFields), data)

    def asked(self) -> dict[str, Any]:
        """The validated query of the URL."""
        return _validated(self.query or NoFields, self.request.query_params.dict())


def _validated(form: Form, data: dict[str, Any]) -> dict[str, Any]:
    filled = form(data=data)
    filled.is_valid(raise_exception=True)
    validated: dict[str, Any] = filled.validated_data
    return validated


class NotBuilt(ServiceError):
    """The route exists and is guarded, but the part behind it is not built into this version."""

    status = 501
    code = "service.not_built"


class NotBuiltView(ServiceView):
    """A route whose work is not built yet: authenticates, validates, then says so. Never a made-up result."""

    part: ClassVar[str] = "This part"

    def _answer(self, request: Request, **_parameters: Any) -> Response:
        if request.method not in SAFE_METHODS:
            self.body()
        elif self.query is not None:
            self.asked()
        raise NotBuilt(f"{self.part} is not built into this version yet. Nothing was done.")

    get = post = put = delete = _answer


class HealthView(APIView):
    """GET /health: whether this service can work; open to everyone, says nothing else."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def get(self, request: Request) -> Response:
        """200 `{"status":"ok","service","version"}`; 503 with the failing part named."""
        service = listener_of(request._request)
        failing = failing_part()
        if failing:
            body = {"status": "failing", "service": service, "version": settings.VERSION, "failing": failing}
            return Response(body, status=503)
        return Response({"status": "ok", "service": service, "version": settings.VERSION})


def failing_part() -> str | None:
    """The first part that this service needs and that is not usable, or None."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count FROM audit_audithead WHERE id = 1")
            cursor.fetchone()
    except DatabaseError:
        return "database"
    if not settings.MODELS_DIR.is_dir():
        return "model store"
    room = os.statvfs(settings.SECAI_HOME)
    if room.f_bavail * room.f_frsize < SPARE_BYTES:
        return "disk space"
    if not os.access(settings.AUDIT_HEAD.parent, os.W_OK):
        return "audit log"
    return None
