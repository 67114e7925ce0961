"""One run of a download: from where the last one stopped until every byte is here and is what it must be."""

import collections
import contextlib
import time
from contextlib import closing

from airlock.contract import Airlock, Changed, RemoteFile, UpstreamFailed, is_strong
from secai_site.kernel import ports
from secai_site.kernel.errors import NotAllowed, ServiceError
from secai_site.kernel.jobs.worker import JobContext
from ui.catalog.admission import require_size
from ui.catalog.downloads import keep, require_room
from ui.catalog.models import Download
from ui.catalog.partfile import PartFile
from ui.catalog.standing import still_stands
from ui.catalog.stream import WAIT_S, Stream

TICK_S = 0.5  # how often progress is written down, and a pause or a revoked right noticed
RATE_OVER_S = 5.0
RETRY_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
PROGRESS_BYTES = 1024 * 1024  # a connection that brought so much before it broke counts as a good one
CHANGED = "The file changed where it comes from, so the download began again from the start."


class Stopped(Exception):
    """This run is over; somebody else has changed the download's state."""


class Revoked(NotAllowed):
    """The person who asked for it may not manage models any more."""

    code = "download.revoked"


class SizeLied(ServiceError):
    """More bytes came than the size that was announced."""

    status = 502
    code = "download.size"


class DigestMismatch(ServiceError):
    """All has arrived, and it is not the file that was asked for."""

    status = 502
    code = "download.digest"


class Run:
    """What one run knows of itself, and its ways to tell and to be told; `most` bytes are what the policy allows."""

    def __init__(
        self, download: Download, part: PartFile, context: JobContext, most: int | None = None
    ) -> None:
        self.download = download
        self.part = part
        self.most = most
        self._context = context
        self._told_at = 0.0
        self._samples: collections.deque[tuple[float, int]] = collections.deque()

    def look(self) -> None:
        """Between two pieces of other work: whether it may go on. Raises `Stopped`, and what ends a job."""
        self._context.check()
        if self._is_due() and not keep(self.download):
            raise Stopped

    def tick(self) -> None:
        """Between two pieces of the file: note how far it is, and whether it may go on. Cheap to call often.

        Raises `Stopped`, `Revoked`, `StorageFull`, and what ends a job.
        """
        self._context.check()
        if not self._is_due():
            return
        size = self.download.size_bytes
        self._context.progress(self.part.size / size if size else None, f"Downloading {self.download.name}")
        self.note(rate_bytes_per_s=self._rate(time.monotonic()))
        if not still_stands(self.download.owner_id, self.download.asked_with):
            raise Revoked(
                "It was stopped, because the person who asked for it may not manage models any more."
            )
        require_room(0)

    def note(self, **fields: object) -> None:
        """Flush what has arrived and write it down; raises `Stopped` when it is not this run's turn."""
        self.part.flush()
        if not keep(self.download, received_bytes=self.part.size, **fields):
            raise Stopped

    def settle(self) -> None:
        """Write down what arrived before something went wrong, so that it need not come again."""
        with contextlib.suppress(ServiceError, Stopped):
            self.note()

    def _is_due(self) -> bool:
        now = time.monotonic()
        if now - self._told_at < TICK_S:
            return False
        self._told_at = now
        return True

    def _rate(self, now: float) -> int:
        self._samples.append((now, self.part.size))
        while now - self._samples[0][0] > RATE_OVER_S:
            self._samples.popleft()
        since, before = self._samples[0]
        seconds = now - since
        return (
            max(0, round((self.part.size - before) / seconds)) if seconds else self.download.rate_bytes_per_s
        )

    def forget_rate(self) -> None:
        """The bytes from here on say nothing about those before."""
        self._samples.clear()


def fetch(run: Run) -> None:
    """Bring the rest of the file; raises the `ServiceError` that ends it for now.

    A broken connection is taken up again, at growing intervals; a file that changed outside begins again, once.
    """
    failures = 0
    while True:
        before = run.part.size
        try:
            _fetch_once(run)
            break
        except Changed:
            _begin_again(run)
        except ServiceError as error:
            failures = 1 if run.part.size - before >= PROGRESS_BYTES else failures + 1
            if not _is_passing(error) or failures > len(RETRY_S):
                raise
            _wait(run, max(RETRY_S[failures - 1], float(error.retry_after or 0)))
    _require_digest(run)


def _fetch_once(run: Run) -> None:
    download, part = run.download, run.part
    if not is_strong(download.etag):
        part.restart()  # without a promise that it is the same file, its parts do not fit together
    start, size = part.size, download.size_bytes
    if size is not None and start == size:
        return
    by, etag = download.owner_id, download.etag if start else None
    airlock = ports.get(Airlock)
    with closing(
        Stream(lambda: airlock.open(download.url, start=start, etag=etag, by=by), run.tick)
    ) as stream:
        _pin(run, stream.head(), start)
        for piece in stream.pieces():
            _take(run, piece)
    if download.size_bytes is None:
        run.note(size_bytes=part.size)
    elif part.size < download.size_bytes:
        raise UpstreamFailed("Fewer bytes came than were announced.", code="download.short")


def _pin(run: Run, remote: RemoteFile, start: int) -> None:
    """Hold the file to the size and the etag that it began with."""
    pinned = run.download.size_bytes
    if start and remote.size_bytes != pinned:
        raise Changed("Its size is another one now.")
    if remote.start != run.part.size:
        run.part.restart()
    run.forget_rate()
    etag = remote.etag if remote.etag and len(remote.etag) <= 200 else ""
    run.note(size_bytes=remote.size_bytes, etag=etag, final_url=remote.final_url[:2000])
    require_size(remote.size_bytes or 0, run.most)
    require_room((remote.size_bytes or 0) - run.part.size)


def _take(run: Run, piece: bytes) -> None:
    try:
        _require_announced(run.part.size + len(piece), run.download.size_bytes)
        require_size(run.part.size + len(piece), run.most)
    except ServiceError:
        run.part.restart()
        run.note(etag="", size_bytes=None)
        raise
    run.part.append(piece)


def _require_announced(size: int, announced: int | None) -> None:
    if announced is not None and size > announced:
        raise SizeLied(
            f"The place it comes from announced {announced:,} bytes and sent more. Nothing of it was kept."
        )


def _begin_again(run: Run) -> None:
    if run.download.restarts:
        raise UpstreamFailed(
            "The file changes where it comes from again and again, so it cannot be fetched in one piece.",
            code="download.changed",
        )
    run.part.restart()
    run.note(restarts=run.download.restarts + 1, etag="", size_bytes=None, reason=CHANGED)


def _is_passing(error: ServiceError) -> bool:
    """Whether asking again may help: a broken connection, an error of the other side, too many requests."""
    if isinstance(error, UpstreamFailed):
        return not error.is_final
    return error.http_status == 429


def _wait(run: Run, seconds: float) -> None:
    run.forget_rate()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        run.tick()
        time.sleep(min(WAIT_S, max(0.0, until - time.monotonic())))


def _require_digest(run: Run) -> None:
    """All is here: compare it with what it must be, and say that it is good."""
    digest, expected = run.part.sha256, run.download.sha256
    if expected and digest != expected:
        run.part.restart()
        run.note(etag="", size_bytes=None)
        raise DigestMismatch(
            f"Its SHA-256 is {digest}, and {expected} was asked for. It is another file, or it was damaged on the "
            "way; nothing of it was kept."
        )
    run.note(digest=digest)
