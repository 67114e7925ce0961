"""The routes of the registry's listener."""

from django.urls import path

from registry import api
from secai_site.kernel.http.urls import handler400, handler403, handler404, handler500, routes_of

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]

urlpatterns = routes_of(
    "registry",
    [
        path("v1/models", api.ModelList.as_view()),
        path("v1/model/verify-manifest", api.VerifyManifest.as_view()),
        path("v1/model/<str:name>", api.ModelDetail.as_view()),
        path("v1/jobs/<uuid:job_id>", api.JobDetail.as_view()),
        path("v1/promote", api.Promote.as_view()),
        path("v1/policy", api.PolicyInForce.as_view()),
        path("v1/policy/admit", api.PolicyAdmit.as_view()),
        path("v1/quarantine", api.QuarantineList.as_view()),
        path("v1/quarantine/<uuid:item_id>", api.QuarantineDetail.as_view()),
        path("v1/quarantine/<uuid:item_id>/rescan", api.QuarantineRescan.as_view()),
        path("v1/quarantine/<uuid:item_id>/promote", api.QuarantinePromote.as_view()),
    ],
)
