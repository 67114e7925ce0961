"""The routes of the search mediator's listener."""

from django.urls import path

from search import api
from secai_site.kernel.http.urls import handler400, handler403, handler404, handler500, routes_of

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]

urlpatterns = routes_of("search", [path("search", api.Search.as_view())])
