"""Reading downloads: rows as the API shows them."""

from datetime import UTC
from typing import Any

from ui.catalog.lifecycle import OPEN, DownloadStatus
from ui.catalog.models import Download


def download_record(download: Download) -> dict[str, Any]:
    """The public form of a download; rate and time left are told while it runs."""
    left = None
    if download.size_bytes is not None and download.rate_bytes_per_s:
        left = round((download.size_bytes - download.received_bytes) / download.rate_bytes_per_s)
    return {
        "id": str(download.pk), "name": download.name, "url": download.address, "host": download.host,
        "status": download.status, "received_bytes": download.received_bytes, "size_bytes": download.size_bytes,
        "rate_bytes_per_s": download.rate_bytes_per_s, "seconds_left": left, "reason": download.reason or None,
        "code": download.code or None, "sha256": download.sha256 or None, "item_id": download.item_id or None,
        "created_at": download.created_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
    }  # fmt: skip


def all_downloads() -> list[dict[str, Any]]:
    """All that were not dismissed, newest first."""
    return [download_record(row) for row in Download.objects.all()]


def open_downloads() -> list[dict[str, Any]]:
    """Those that are not in quarantine yet and may still come, newest first."""
    return [download_record(row) for row in Download.objects.filter(status__in=OPEN)]


# How the list of models calls a download that stands so.
LISTED_AS = {
    DownloadStatus.QUEUED.value: "downloading",
    DownloadStatus.RUNNING.value: "downloading",
    DownloadStatus.PAUSED.value: "paused",
    DownloadStatus.FAILED.value: "download_failed",
}
