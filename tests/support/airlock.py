"""The outside world in this process: files at addresses, and every way in which a server lets one down."""

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

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

PIECE = 1000


@dataclass
class Remote:
    """A file somewhere. `cuts`: offsets at which the connection breaks, once each; `status`: what is answered.

    `says`: the size it claims to have; `pause`: seconds before each piece; `gate`: set it to let bytes flow;
    `ranges`: whether it knows them; `tagged`: whether it sends an etag.
    """

    data: bytes
    status: int = 200
    says: int | None = None
    cuts: list[int] = field(default_factory=list)
    pause: float = 0.0
    gate: threading.Event | None = None
    ranges: bool = True
    tagged: bool = True
    silent_about_size: bool = False

    @property
    def etag(self) -> str | None:
        """A strong etag of what it holds now."""
        return f'"{hashlib.sha256(self.data).hexdigest()[:16]}"' if self.tagged else None

    @property
    def size(self) -> int | None:
        """What it says about its size."""
        return None if self.silent_about_size else self.says if self.says is not None else len(self.data)

    def pieces(self, start: int) -> Iterator[bytes]:
        """Its bytes from `start` on, then whatever goes wrong."""
        at = start
        while at < len(self.data):
            if self.gate is not None:
                self.gate.wait(20)
            time.sleep(self.pause)
            end = min([len(self.data), at + PIECE, *(cut for cut in self.cuts if cut > at)])
            yield self.data[at:end]
            at = end
            if at in self.cuts:
                self.cuts.remove(at)
                raise ConnectionError


class FakeAirlock:
    """Implements `Airlock` over `files`, by address; `requests` are (url, start, etag) as they came."""

    def __init__(self) -> None:
        self.enabled = True
        self.files: dict[str, Remote] = {}
        self.refused: set[str] = set()
        self.requests: list[tuple[str, int, str | None]] = []

    def status(self) -> AirlockStatus:
        return AirlockStatus(self.enabled, "" if self.enabled else "The network door is closed.")

    @contextmanager
    def open(
        self, url: str, *, start: int = 0, etag: str | None = None, by: int | None = None
    ) -> Iterator[RemoteFile]:
        self.requests.append((url, start, etag))
        if not self.enabled:
            raise AirlockDisabled("The network door of this box is closed.")
        if url in self.refused:
            raise DestinationRefused("This destination is not on the list.")
        remote = self.files.get(url, Remote(b"", status=404))
        if remote.status != 200:
            raise UpstreamFailed(f"It answered {remote.status}.", is_final=remote.status < 500)
        if start and (remote.etag != etag or start >= len(remote.data)):
            raise Changed("It is another file now.")
        begin = start if remote.ranges else 0
        yield RemoteFile(
            206 if begin else 200, begin, remote.size, remote.etag, url, self._flow(remote, begin)
        )

    def _flow(self, remote: Remote, start: int) -> Iterator[bytes]:
        try:
            for piece in remote.pieces(start):
                if not self.enabled:
                    raise AirlockDisabled("The network door was closed.")
                yield piece
        except ConnectionError:
            raise UpstreamFailed("The connection broke off.") from None


class AirlockListener(httpx.BaseTransport):
    """The airlock's listener as the contract describes it, in front of the same files; for tests of the client."""

    def __init__(self, world: FakeAirlock) -> None:
        self.world = world
        self.seen: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        if request.url.path == "/v1/status":
            return httpx.Response(200, json={"enabled": self.world.enabled})
        body = json.loads(request.read())
        if not self.world.enabled:
            return httpx.Response(503, json={"error": "It is disabled.", "code": "airlock.disabled"})
        if body["url"] in self.world.refused:
            return httpx.Response(403, json={"error": "It is not on the list.", "code": "airlock.unlisted"})
        return self._fetched(body["url"], body["headers"])

    def _fetched(self, url: str, headers: dict[str, str]) -> httpx.Response:
        remote = self.world.files.get(url, Remote(b"", status=404))
        said = {UPSTREAM_STATUS: str(remote.status), FINAL_URL: url}
        if remote.status != 200:
            return httpx.Response(200, headers=said, stream=Pieces(iter(())))
        said |= {"ETag": remote.etag} if remote.etag else {}
        start = int(headers.get("Range", "bytes=0-")[6:-1])
        if start and remote.ranges and headers["If-Range"] == remote.etag:
            if start >= len(remote.data):
                return httpx.Response(200, headers={UPSTREAM_STATUS: "416"}, stream=Pieces(iter(())))
            total = remote.size if remote.size is not None else "*"
            last = len(remote.data) - 1 if remote.size is None else remote.size - 1
            said |= {UPSTREAM_STATUS: "206", "Content-Range": f"bytes {start}-{last}/{total}"}
            return httpx.Response(200, headers=said, stream=Pieces(remote.pieces(start)))
        said |= {"Content-Length": str(remote.size)} if remote.size is not None else {}
        return httpx.Response(200, headers=said, stream=Pieces(remote.pieces(0)))


class Pieces(httpx.SyncByteStream):
    """A body that comes in pieces and may break."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._pieces
        except ConnectionError as error:
            raise httpx.ReadError("the connection broke") from error
