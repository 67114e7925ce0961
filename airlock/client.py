"""The airlock behind its listener: the contract, spoken over HTTP."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from airlock.contract import (
    FINAL_URL,
    UPSTREAM_STATUS,
    AirlockDisabled,
    AirlockStatus,
    Changed,
    DestinationRefused,
    RemoteFile,
    UpstreamFailed,
)
from secai_site.kernel.errors import ServiceError
from secai_site.kernel.http.peer import Peer, PeerDown, PeerError, Streamed

SILENCE_S = 60.0  # without a byte for so long, the other side is taken for gone
CLOSED = (
    "The network door of this box is closed, so nothing can be fetched from outside. The operator opens it."
)
CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")


class AirlockClient:
    """Implements `Airlock` for one caller."""

    def __init__(self, *, caller: str) -> None:
        self._peer = Peer("airlock", caller=caller)

    def status(self) -> AirlockStatus:
        try:
            answer = self._peer.call("GET", "/v1/status")
        except (PeerError, PeerDown) as error:
            return AirlockStatus(enabled=False, reason=translated(error).message)
        enabled = isinstance(answer, dict) and answer.get("enabled") is True
        return AirlockStatus(enabled, "" if enabled else CLOSED)

    @contextmanager
    def open(
        self, url: str, *, start: int = 0, etag: str | None = None, by: int | None = None
    ) -> Iterator[RemoteFile]:
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers |= {"Range": f"bytes={start}-", "If-Range": etag or ""}
        asked = self._peer.stream(
            "POST", "/v1/proxy", json={"url": url, "method": "GET", "headers": headers},
            accept="application/octet-stream", on_behalf_of=by, patience=SILENCE_S,
        )  # fmt: skip
        with ExitStack() as stack:
            try:
                answer = stack.enter_context(asked)
            except (PeerError, PeerDown) as error:
                raise translated(error) from error
            yield remote_file(answer, url, start=start, etag=etag)


def translated(error: ServiceError) -> ServiceError:
    """The airlock's refusal as one of the contract's; what the contract does not name stays as it is."""
    if isinstance(error, PeerDown):
        return UpstreamFailed("The connection broke off.", code="airlock.cut")
    match error.http_status:
        case 501 | 503:
            return AirlockDisabled(CLOSED)
        case 400 | 403:
            return DestinationRefused(error.message, code=error.error_code)
        case 502 | 504:
            return UpstreamFailed(error.message, code=error.error_code, status=error.http_status)
    return error


def remote_file(answer: Streamed, url: str, *, start: int, etag: str | None) -> RemoteFile:
    """The streamed answer to a request from `start` on; raises `Changed` or `UpstreamFailed`."""
    headers = answer.headers
    status, found = headers.get(UPSTREAM_STATUS, ""), headers.get("ETag")
    if headers.get("Content-Encoding", "identity") != "identity":
        raise UpstreamFailed(
            "The other side sent the file encoded, though it was told not to.", is_final=True
        )
    if status == "416" or (start and status in ("200", "206") and found != etag):
        raise Changed("The file is not the one any more that the first part came from.")
    if status not in ("200", "206"):
        raise _refused_there(status)
    offset, size = _extent(headers.get("Content-Range"), headers.get("Content-Length"), status)
    if offset not in (0, start):
        raise UpstreamFailed("The other side sent another part of the file than it was asked for.")
    return RemoteFile(int(status), offset, size, found, headers.get(FINAL_URL, url), _unbroken(answer.chunks))


def _extent(content_range: str | None, length: str | None, status: str) -> tuple[int, int | None]:
    """Where the bytes begin, and the size of the whole file where it is said."""
    if status == "200":
        return 0, int(length) if length and length.isascii() and length.isdigit() and len(
            length
        ) < 19 else None
    match = CONTENT_RANGE.fullmatch(content_range or "")
    if match is None or (match[3] != "*" and int(match[2]) != int(match[3]) - 1):
        raise UpstreamFailed("The other side did not say which part of the file it sent.")
    return int(match[1]), None if match[3] == "*" else int(match[3])


def _refused_there(status: str) -> UpstreamFailed:
    known = {
        "401": "The place that it lies at asks for an account.",
        "403": "The place that it lies at does not give it out.",
        "404": "There is no such file at this address.", "410": "The file is not at this address any more.",
        "429": "The place that it lies at asks to come back later.",
    }  # fmt: skip
    message = known.get(status, f"The place that it lies at answered with an error ({status[:3] or 'none'}).")
    is_final = status.startswith(("3", "4")) and status not in ("408", "425", "429")
    return UpstreamFailed(message, code="airlock.upstream_refused", is_final=is_final)


def _unbroken(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The pieces; a broken connection is told in the contract's words."""
    try:
        yield from chunks
    except PeerDown as error:
        raise UpstreamFailed("The connection broke off.", code="airlock.cut") from error
