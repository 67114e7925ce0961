"""The routes of port 8480: the pages, their API, and the admin."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, path

from secai_site.kernel.http.urls import handler400, handler403, handler404, handler500, routes_of
from ui import not_built
from ui.account import api as account
from ui.catalog import api as catalog
from ui.catalog import download_api as downloads
from ui.chat import api as chat
from ui.pages.urls import urlpatterns as pages
from ui.system import api as system

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]

api: list[URLPattern | URLResolver] = [
    path("api/chat", chat.Chat.as_view()),
    path("api/generate", chat.Generate.as_view()),
    path("api/conversations", chat.ConversationList.as_view()),
    path("api/conversations/<uuid:conversation_id>", chat.ConversationDetail.as_view()),
    path("api/conversations/<uuid:conversation_id>/restore", chat.ConversationRestore.as_view()),
    path("api/conversations/<uuid:conversation_id>/export", chat.ConversationExport.as_view()),
    path("api/models", catalog.ModelList.as_view()),
    path("api/models/import", catalog.Import.as_view()),
    path("api/models/verify-manifest", catalog.VerifyManifest.as_view()),
    path("api/models/jobs/<uuid:job_id>", catalog.JobDetail.as_view()),
    path("api/models/fit", catalog.Fit.as_view()),
    path("api/models/download", downloads.Download.as_view()),
    path("api/models/downloads", downloads.DownloadList.as_view()),
    path("api/models/downloads/<uuid:download_id>", downloads.DownloadDetail.as_view()),
    path("api/models/downloads/<uuid:download_id>/pause", downloads.DownloadPause.as_view()),
    path("api/models/downloads/<uuid:download_id>/resume", downloads.DownloadResume.as_view()),
    path("api/models/downloads/<uuid:download_id>/cancel", downloads.DownloadCancel.as_view()),
    *not_built.urlpatterns,
    path("api/models/<str:name>", catalog.ModelDetail.as_view()),
    path("api/models/<str:name>/load", catalog.Load.as_view()),
    path("api/models/<str:name>/unload", catalog.Unload.as_view()),
    path("api/quarantine/<uuid:item_id>", catalog.QuarantineDetail.as_view()),
    path("api/quarantine/<uuid:item_id>/rescan", catalog.QuarantineRescan.as_view()),
    path("api/quarantine/<uuid:item_id>/promote", catalog.QuarantinePromote.as_view()),
    path("api/keys", account.KeyList.as_view()),
    path("api/keys/<uuid:key_id>", account.KeyDetail.as_view()),
    path("api/sessions", account.SessionList.as_view()),
    path("api/sessions/<uuid:session_id>", account.SessionDetail.as_view()),
    path("api/status", system.Status.as_view()),
    path("api/security/status", system.SecurityStatus.as_view()),
    path("api/audit/verify", system.AuditVerify.as_view()),
    path("api/vm/gpu", system.Gpu.as_view()),
]

urlpatterns = routes_of("ui", [*pages, *api, path("admin/", admin.site.urls)])
