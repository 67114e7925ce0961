"""What other services may ask of the airlock: to fetch a file from outside, as a stream."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol

from secai_site.kernel.errors import NotAllowed, ServiceError, Unavailable

# How the airlock's raw stream (`Accept: application/octet-stream`) says what the other side said: its own answer is
# always 200, so that a refusal by the airlock and one by the other side cannot be taken for each other.
UPSTREAM_STATUS: Final = "Secai-Upstream-Status"
FINAL_URL: Final = "Secai-Final-Url"


class AirlockDisabled(Unavailable):
    """Nothing may leave the box now."""

    code = "airlock.disabled"


class DestinationRefused(NotAllowed):
    """The airlock's policy does not let this request out."""

    code = "airlock.destination"


class UpstreamFailed(ServiceError):
    """The other side did not give the file; `is_final` says that asking again brings nothing."""

    status = 502
    code = "airlock.upstream"

    def __init__(
        self, message: str, *, code: str | None = None, status: int | None = None, is_final: bool = False
    ) -> None:
        super().__init__(message, code=code, status=status)
        self.is_final = is_final


class Changed(ServiceError):
    """The file is not the one any more that an earlier part was fetched of."""

    status = 409
    code = "airlock.changed"


@dataclass(frozen=True, slots=True)
class AirlockStatus:
    """Whether requests may leave; `reason` is a sentence where they may not, else empty."""

    enabled: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file on its way: `chunks` gives its bytes from offset `start` on, as they were sent.

    `status` is 200 or 206, the other side's own; `size_bytes` that of the whole file, None where the other side does
    not say it; `etag` as sent. Iterating raises `UpstreamFailed` when the connection breaks, `AirlockDisabled` when
    the airlock was closed meanwhile.
    """

    status: int
    start: int
    size_bytes: int | None
    etag: str | None
    final_url: str
    chunks: Iterator[bytes]


class Airlock(Protocol):
    """The airlock, as the other services see it. `by` is the id of the person acted for."""

    def status(self) -> AirlockStatus:
        """Whether the airlock is open."""

    def open(
        self, url: str, *, start: int = 0, etag: str | None = None, by: int | None = None
    ) -> AbstractContextManager[RemoteFile]:
        """Fetch `url` by GET, from offset `start` on if the file still has the strong `etag`.

        A side that knows no ranges gives the same file from offset 0. Raises `AirlockDisabled`,
        `DestinationRefused`, `UpstreamFailed`, and `Changed` when a file with another etag is there, or one shorter
        than `start`. Without an etag `start` must be 0.
        """


def is_strong(etag: str | None) -> bool:
    """Whether an etag promises the same bytes (RFC 9110 §8.8.1), as resuming needs."""
    return bool(etag) and not str(etag).startswith("W/")
