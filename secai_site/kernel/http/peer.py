"""Calling another service of this box: HTTP over its Unix socket, with this caller's service token."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx  # noqa: TID251
from django.conf import settings

from secai_site.kernel.auth.authentication import ON_BEHALF_OF
from secai_site.kernel.auth.tokens import token_of
from secai_site.kernel.errors import ServiceError, Unavailable

PATIENCE_S = 30.0
CONNECT_S = 2.0

TransportFactory = Callable[[str], httpx.BaseTransport]


class PeerDown(Unavailable):
    """A service of this box does not answer."""

    code = "service.down"


class PeerError(ServiceError):
    """A refusal by the other service, passed on as it is."""


@dataclass(frozen=True, slots=True)
class Streamed:
    """An answer on its way: its headers (any case), and its bytes as they were sent, in pieces as they come.

    Iterating raises `PeerDown` when the connection breaks or stays silent.
    """

    headers: Mapping[str, str]
    chunks: Iterator[bytes]


def socket_path(service: str) -> Path:
    """Where `service` listens for its peers."""
    return Path(settings.RUN_DIR) / f"{service}.sock"


def _over_socket(service: str) -> httpx.BaseTransport:
    return httpx.HTTPTransport(uds=str(socket_path(service)))


transport_for: TransportFactory = _over_socket


class Peer:
    """One other service, as `caller` sees it. Safe to share between threads."""

    def __init__(self, service: str, *, caller: str) -> None:
        self.service = service
        self.caller = caller
        self._client: httpx.Client | None = None

    def call(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: dict[str, Any] | None = None,
        on_behalf_of: int | None = None,
        patience: float = PATIENCE_S,
    ) -> Any:
        """Send a request and return the parsed answer, waiting `patience` seconds for it.

        Raises `PeerDown` when nobody answers, `PeerError` with the other service's own words, code and status
        when it refuses.
        """
        headers = self._headers(on_behalf_of)
        timeout = httpx.Timeout(patience, connect=CONNECT_S)
        try:
            response = self._open().request(
                method, path, json=json, params=params, headers=headers, timeout=timeout
            )
        except httpx.TransportError as error:
            raise self._down() from error
        return self._result(response)

    @contextmanager
    def stream(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        accept: str,
        on_behalf_of: int | None = None,
        patience: float = PATIENCE_S,
    ) -> Iterator[Streamed]:
        """Send a request and give the answer while it arrives, of any size, waiting `patience` seconds for each piece.

        Raises as `call` does; the connection ends with the block.
        """
        headers = self._headers(on_behalf_of) | {"Accept": accept}
        timeout = httpx.Timeout(patience, connect=CONNECT_S)
        request = self._open().build_request(method, path, json=json, headers=headers, timeout=timeout)
        try:
            response = self._open().send(request, stream=True)
        except httpx.TransportError as error:
            raise self._down() from error
        try:
            if not response.is_success:
                response.read()
                self._result(response)
            yield Streamed(response.headers, self._pieces(response))
        finally:
            response.close()

    def _pieces(self, response: httpx.Response) -> Iterator[bytes]:
        try:
            yield from response.iter_raw()
        except httpx.TransportError as error:
            raise self._down() from error

    def _headers(self, on_behalf_of: int | None) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {token_of(self.caller)}"}
        if on_behalf_of is not None:
            headers[ON_BEHALF_OF] = str(on_behalf_of)
        return headers

    def _down(self) -> PeerDown:
        return PeerDown(f"The {self.service} service is not answering. Try again in a moment.", retry_after=2)

    def _open(self) -> httpx.Client:
        if self._client is None:
            self._client = httpx.Client(
                transport=transport_for(self.service),
                base_url="http://localhost",
                trust_env=False,
            )
        return self._client

    def _result(self, response: httpx.Response) -> Any:
        try:
            body = response.json() if response.content else {}
        except ValueError as error:
            raise PeerDown(f"The {self.service} service gave an answer that is not JSON.") from error
        if response.is_success:
            return body
        body = body if isinstance(body, dict) else {}
        known = {"error", "code", "status", "message", "retry_after"}
        extra = {name: value for name, value in body.items() if name not in known}
        raise PeerError(
            body.get("error") or f"The {self.service} service refused.",
            code=body.get("code") or "service.refused",
            status=response.status_code,
            retry_after=int(wait) if (wait := response.headers.get("Retry-After", "")).isdecimal() else None,
            **extra,
        )
