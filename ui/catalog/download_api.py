"""Downloads of models over HTTP."""

from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from secai_site.kernel.auth.scopes import Scope
from secai_site.kernel.http.views import ServiceView
from ui.catalog import downloads
from ui.catalog.selectors import all_downloads, download_record
from ui.catalog.serializers import DownloadRequest, ResumeRequest


class DownloadsView(ServiceView):
    """Anyone may see what comes, who manages models may change it."""

    read_scope = Scope.READ
    write_scope = Scope.MODELS


class Download(DownloadsView):
    forms = {"POST": DownloadRequest}

    def post(self, request: Request) -> Response:
        """Fetch a model from outside, through the airlock; it goes into quarantine when all of it is here."""
        download = downloads.ask(caller=self.caller, **self.body())
        return Response(download_record(download), status=202)


class DownloadList(DownloadsView):
    answers_list = True

    def get(self, request: Request) -> Response:
        """All downloads that were not dismissed, newest first, with rate and time left."""
        return Response(all_downloads())


class DownloadDetail(DownloadsView):
    def delete(self, request: Request, download_id: UUID) -> Response:
        """Take an ended download off the list."""
        downloads.dismiss(download=downloads.find(download_id), actor=self.caller.name)
        return Response({"id": str(download_id), "status": "dismissed"})


class DownloadPause(DownloadsView):
    def post(self, request: Request, download_id: UUID) -> Response:
        """Stop it for now; what has arrived is kept."""
        self.body()
        moved = downloads.pause(download=downloads.find(download_id), actor=self.caller.name)
        return Response(download_record(moved))


class DownloadResume(DownloadsView):
    forms = {"POST": ResumeRequest}

    def post(self, request: Request, download_id: UUID) -> Response:
        """Go on from what has arrived, under another name if the first is taken by now."""
        asked = self.body()
        moved = downloads.resume(download=downloads.find(download_id), caller=self.caller, **asked)
        return Response(download_record(moved))


class DownloadCancel(DownloadsView):
    def post(self, request: Request, download_id: UUID) -> Response:
        """End it; what has arrived is thrown away."""
        self.body()
        moved = downloads.cancel(download=downloads.find(download_id), actor=self.caller.name)
        return Response(download_record(moved))
