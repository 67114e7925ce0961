"""The routes that every listener has, around its own."""

from django.contrib.auth.decorators import login_not_required
from django.urls import URLPattern, URLResolver, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.permissions import IsAuthenticated

from secai_site.kernel.auth.scopes import Scope
from secai_site.kernel.http.views import HealthView, ServiceView

handler400 = "secai_site.kernel.http.errors.bad_request"
handler403 = "secai_site.kernel.http.errors.permission_denied"
handler404 = "secai_site.kernel.http.errors.not_found"
handler500 = "secai_site.kernel.http.errors.server_error"

__all__ = ["handler400", "handler403", "handler404", "handler500", "routes_of"]


class SchemaView(SpectacularAPIView):
    """GET /api/schema/: the OpenAPI 3.1 document of this listener."""

    permission_classes = ServiceView.permission_classes
    read_scope = Scope.READ


class DocsView(SpectacularSwaggerSplitView):
    """GET /api/docs/: Swagger UI, served from this box."""

    permission_classes = (IsAuthenticated,)
    renderer_classes = SpectacularSwaggerSplitView.renderer_classes


def routes_of(service: str, own: list[URLPattern | URLResolver]) -> list[URLPattern | URLResolver]:
    """`own` and the common routes of the listener `service`."""
    schema = SchemaView.as_view(urlconf=f"{service}.urls", custom_settings={"TITLE": f"SecAI {service}"})
    return [
        *own,
        path("health", login_not_required(HealthView.as_view())),
        path("api/schema/", schema, name="schema"),
        path("api/docs/", DocsView.as_view(url_name="schema"), name="docs"),
    ]
