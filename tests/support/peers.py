"""The services' calls to each other, carried in this process instead of over a Unix socket."""

import httpx

from tests.support.client import ListenerClient


class InProcess(httpx.BaseTransport):
    """Answers a peer's request by the listener's own routes, middleware and views."""

    def __init__(self, service: str) -> None:
        self.service = service

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = ListenerClient(self.service).generic(
            request.method,
            request.url.raw_path.decode(),
            request.read(),
            content_type=request.headers.get("content-type", ""),
            headers={name: value for name, value in request.headers.items() if name not in SENT_BY_CLIENT},
        )
        return httpx.Response(answer.status_code, headers=dict(answer.headers), content=answer.content)


SENT_BY_CLIENT = ("host", "content-type", "content-length")


class Nobody(httpx.BaseTransport):
    """A service that is not running."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("nobody listens", request=request)
