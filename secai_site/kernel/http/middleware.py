"""What holds for every request on every listener."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.urls import set_urlconf

from secai_site.kernel.errors import InvalidRequest, NotAllowed
from secai_site.kernel.http.errors import answer

Handler = Callable[[HttpRequest], HttpResponse]
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
LISTENER_KEY = "secai.listener"


def listener_of(request: HttpRequest) -> str | None:
    """The name of the listener that received this request."""
    scope: dict[str, Any] = getattr(request, "scope", None) or request.META
    return scope.get(LISTENER_KEY)


class ListenerMiddleware:
    """Gives the request the routes of the listener it came in by; without one it finds none."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        name = listener_of(request)
        if name is not None:
            request.urlconf = f"{name}.urls"
            set_urlconf(f"{name}.urls")
        return self.get_response(request)


class HeadersMiddleware:
    """The response headers that Django has no setting for."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers.setdefault(
            "Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=()"
        )
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        if not request.path.startswith(settings.STATIC_URL):
            response.headers.setdefault("Cache-Control", "no-store")
        return response


def origin_is_ours(origin: str, *, scheme: str, host: str) -> bool:
    """Whether a page at `origin` may change things on the listener reached as `scheme://host`."""
    return origin in settings.CSRF_TRUSTED_ORIGINS or origin.lower() == f"{scheme}://{host}".lower()


class OriginMiddleware:
    """Refuses a foreign Host, and a change asked for by a page of another site or port.

    Cookies ignore ports and every page in the world can reach localhost, so the browser's own word on where a
    request comes from is checked before anything else.
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        try:
            host = request.get_host()
        except DisallowedHost:
            return answer(request, InvalidRequest("This Host is not one of this box.", code="request.host"))
        if request.method not in SAFE_METHODS and self._is_foreign(request, host):
            return answer(
                request,
                NotAllowed(
                    "This request comes from a page of another site and was refused.", code="auth.origin"
                ),
            )
        return self.get_response(request)

    @staticmethod
    def _is_foreign(request: HttpRequest, host: str) -> bool:
        if request.headers.get("Sec-Fetch-Site") == "cross-site":
            return True
        origin = request.headers.get("Origin")
        return origin is not None and not origin_is_ours(origin, scheme=request.scheme or "http", host=host)
