"""Sessions that remember which browser they belong to."""

from django.contrib.sessions.middleware import SessionMiddleware as DjangoSessionMiddleware
from django.http import HttpRequest


class SessionMiddleware(DjangoSessionMiddleware):
    """Django's, plus the browser's name for the list of sessions."""

    def process_request(self, request: HttpRequest) -> None:
        super().process_request(request)
        request.session.agent = request.headers.get("User-Agent", "")  # type: ignore[attr-defined]
