"""How a download moves, as a table. Pure."""

from enum import StrEnum


class DownloadStatus(StrEnum):
    """Where a download stands. `failed` and `paused` keep what has arrived and can be taken up again."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DONE = "done"


MOVES: dict[DownloadStatus, frozenset[DownloadStatus]] = {
    DownloadStatus.QUEUED: frozenset(
        {DownloadStatus.RUNNING, DownloadStatus.PAUSED, DownloadStatus.CANCELLED, DownloadStatus.FAILED}
    ),
    # a run that a crash interrupted is begun again
    DownloadStatus.RUNNING: frozenset(
        {DownloadStatus.RUNNING, DownloadStatus.PAUSED, DownloadStatus.CANCELLED, DownloadStatus.FAILED,
         DownloadStatus.DONE}
    ),
    DownloadStatus.PAUSED: frozenset({DownloadStatus.QUEUED, DownloadStatus.CANCELLED}),
    DownloadStatus.FAILED: frozenset({DownloadStatus.QUEUED, DownloadStatus.CANCELLED}),
    DownloadStatus.CANCELLED: frozenset(),
    DownloadStatus.DONE: frozenset(),
}  # fmt: skip

ACTIVE = (DownloadStatus.QUEUED.value, DownloadStatus.RUNNING.value)
OPEN = (*ACTIVE, DownloadStatus.PAUSED.value, DownloadStatus.FAILED.value)
DISMISSIBLE = (DownloadStatus.DONE.value, DownloadStatus.CANCELLED.value, DownloadStatus.FAILED.value)
