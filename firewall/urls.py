"""The routes of the firewall's listener."""

from django.urls import path

from firewall import api
from secai_site.kernel.http.urls import handler400, handler403, handler404, handler500, routes_of

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]

urlpatterns = routes_of(
    "firewall",
    [
        path("v1/tool/invoke", api.Invoke.as_view()),
        path("v1/tools", api.Tools.as_view()),
        path("v1/policy", api.Policy.as_view()),
        path("v1/policy/simulate", api.Simulate.as_view()),
        path("v1/stats", api.Stats.as_view()),
    ],
)
