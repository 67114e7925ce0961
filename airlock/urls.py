"""The routes of the airlock's listener."""

from django.urls import path

from airlock import api
from secai_site.kernel.http.urls import handler400, handler403, handler404, handler500, routes_of

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]

urlpatterns = routes_of(
    "airlock",
    [
        path("v1/proxy", api.Proxy.as_view()),
        path("v1/check", api.Check.as_view()),
        path("v1/status", api.Status.as_view()),
        path("v1/enable", api.Switch.as_view()),
        path("v1/disable", api.Switch.as_view()),
        path("v1/report", api.Report.as_view()),
    ],
)
