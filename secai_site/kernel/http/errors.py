"""One shape for every refusal and failure, whoever raised it; no input gets a traceback."""

import errno
import logging
import sys
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render as render_page
from rest_framework import exceptions
from rest_framework.renderers import BrowsableAPIRenderer, JSONRenderer
from rest_framework.response import Response

from secai_site.kernel.audit.refusals import note
from secai_site.kernel.errors import NotAllowed, NotFound, NotSignedIn, ServiceError, StorageFull, Unavailable
from secai_site.kernel.http.serializers import first_error

log = logging.getLogger(__name__)

DRF_CODES = {
    400: "request.invalid", 401: "auth.required", 403: "auth.forbidden", 404: "request.not_found",
    405: "request.method", 406: "request.not_acceptable", 415: "request.media_type", 429: "rate.limited",
}  # fmt: skip


def as_service_error(error: BaseException) -> ServiceError | None:
    """The refusal that `error` stands for, or None when it is a fault of ours."""
    match error:
        case ServiceError():
            return error
        case exceptions.ValidationError():
            return ServiceError(first_error(error.detail), fields=error.detail)
        case exceptions.NotAuthenticated():
            return NotSignedIn("Sign in, or send an API key: Authorization: Bearer secai_…")
        case exceptions.APIException():
            code = DRF_CODES.get(error.status_code, "request.invalid")
            return ServiceError(first_error(error.detail), status=error.status_code, code=code)
        case Http404():
            return NotFound("There is nothing at this address.")
        case PermissionDenied():
            return NotAllowed("This is not allowed.")
        case RequestDataTooBig():
            return ServiceError("The body is too large.", status=413, code="request.too_large")
        case SuspiciousOperation():
            return ServiceError("This request was refused.", code="request.refused")
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return StorageFull("The disk is full. Nothing was changed; make room and try again.")
        case OperationalError() if "full" in str(error):
            return StorageFull("The disk is full. Nothing was changed; make room and try again.")
        case OperationalError():
            log.error("database: %s", error)
            return Unavailable(
                "The database did not answer in time. Nothing was changed; try again in a moment.",
                code="database.unavailable",
                retry_after=2,
            )
    return None


def render(error: Exception, context: dict[str, Any]) -> Response:
    """DRF's exception handler: every error as `{"error", "code", …}`."""
    known = as_service_error(error)
    if known is None:
        log.exception("unexpected error", exc_info=error)
        known = ServiceError(
            "Something went wrong here; the operator finds it in the log.", status=500, code="internal"
        )
    headers = dict((getattr(error, "auth_header", None) and {"WWW-Authenticate": error.auth_header}) or {})  # type: ignore[attr-defined]
    if known.http_status == 401:
        headers.setdefault("WWW-Authenticate", 'Bearer realm="secai"')
    if known.retry_after is not None:
        headers["Retry-After"] = str(known.retry_after)
    request = context.get("request")
    _answer_readably(request)
    if request is not None:
        caller = getattr(request, "_auth", None)
        note(request._request, known, getattr(caller, "name", "nobody"))
    view = context.get("view")
    shape = getattr(view, "error_body", ServiceError.body)
    return Response(shape(known), status=known.http_status, headers=headers)


def _answer_readably(request: Any) -> None:
    """A refusal is JSON (or the browsable page) also where a view answers in a form of its own, such as YAML."""
    chosen = getattr(request, "accepted_renderer", None)
    if chosen is not None and not isinstance(chosen, JSONRenderer | BrowsableAPIRenderer):
        request.accepted_renderer, request.accepted_media_type = JSONRenderer(), JSONRenderer.media_type


def wants_json(request: HttpRequest) -> bool:
    """Whether the caller is a program: an API path, or no wish for HTML."""
    is_api = request.path.startswith(("/api/", "/v1/", "/search", "/health"))
    return is_api or "text/html" not in request.headers.get("Accept", "")


def answer(request: HttpRequest, error: ServiceError) -> HttpResponse:
    """A refusal outside DRF: JSON for programs, a page for people."""
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after is not None else None
    if error.error_code == "auth.origin":
        note(request, error, "nobody")
    if wants_json(request):
        return JsonResponse(error.body(), status=error.http_status, headers=headers)
    page = {"error": error, "title": TITLES.get(error.http_status, "That did not work")}
    return render_page(request, "error.html", page, status=error.http_status)


TITLES = {
    400: "That was not understood", 403: "Not allowed", 404: "Nothing here", 429: "Too fast",
    503: "Not ready", 507: "The disk is full",
}  # fmt: skip


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler400: a foreign Host, a malformed request."""
    message = "This request was refused: its Host header or its form is not one this box accepts."
    return answer(request, ServiceError(message, code="request.refused"))


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler403."""
    return answer(request, as_service_error(exception) or NotAllowed("This is not allowed."))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler404."""
    return answer(request, NotFound("There is nothing at this address."))


def server_error(request: HttpRequest) -> HttpResponse:
    """handler500: also what a page meets when the database is locked or the disk is full."""
    error = sys.exc_info()[1]
    known = as_service_error(error) if error is not None else None
    if known is None:
        log.error("unexpected error on %s", request.path, exc_info=error)
        message = "Something went wrong here; the operator finds it in the log."
        known = ServiceError(message, status=500, code="internal")
    return answer(request, known)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form without a good CSRF token."""
    return answer(request, NotAllowed("The page is out of date: reload it and try again.", code="auth.csrf"))
