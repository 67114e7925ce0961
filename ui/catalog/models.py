"""Models on their way into the box, and what those in it took of its memory."""

import uuid
from pathlib import Path
from urllib.parse import unquote

from django.conf import settings
from django.db import models
from django.utils import timezone

from ui.catalog.lifecycle import DownloadStatus


class Download(models.Model):
    """A file that somebody asked to fetch from outside.

    `turn` counts its runs: what an earlier run still wants to write is refused. `digest` is set when all has arrived
    and was found good; from then on only the handing over to quarantine is left. The whole `url` is for fetching
    alone; people and other services get the `address`.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=128)
    url = models.CharField(max_length=2000)
    final_url = models.CharField(max_length=2000, blank=True)
    etag = models.CharField(max_length=200, blank=True)
    sha256 = models.CharField(max_length=64, blank=True, help_text="what it must be, if that was said")
    digest = models.CharField(max_length=64, blank=True)
    size_bytes = models.PositiveBigIntegerField(null=True)
    received_bytes = models.PositiveBigIntegerField(default=0, help_text="flushed to the disk")
    rate_bytes_per_s = models.PositiveBigIntegerField(default=0)
    status = models.CharField(max_length=20, default=DownloadStatus.QUEUED.value, db_index=True)
    reason = models.CharField(max_length=500, blank=True)
    code = models.CharField(max_length=80, blank=True)
    restarts = models.PositiveSmallIntegerField(
        default=0, help_text="how often the file outside became another one"
    )
    turn = models.PositiveIntegerField(default=0)
    item_id = models.CharField(max_length=36, blank=True, help_text="its place in quarantine")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="downloads"
    )
    asked_with = models.CharField(max_length=120, help_text="the credential; see ui.catalog.standing")
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return f"{self.name} ({self.status})"

    @property
    def part(self) -> Path:
        """Where its bytes lie until all of them are here."""
        return downloads_folder() / f"{self.pk}.part"

    @property
    def filename(self) -> str:
        """What the file is called where it comes from."""
        return unquote(self.address.rpartition("/")[2])[:255]

    @property
    def address(self) -> str:
        """The `url` as it is shown and passed on."""
        return address_of(self.url)

    @property
    def host(self) -> str:
        """Where it comes from."""
        return self.url.removeprefix("https://").partition("/")[0]


def address_of(url: str) -> str:
    """The address without its query, which may carry a token that opens it to whoever reads it."""
    return url.partition("?")[0]


def downloads_folder() -> Path:
    """The folder of unfinished downloads, on the same file system as the quarantine; nothing sweeps it but us."""
    folder = Path(settings.SECAI_HOME) / "downloads"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


class MeasuredLoad(models.Model):
    """What a model with this digest took of the memory when it was loaded last with this context."""

    sha256 = models.CharField(max_length=64)
    context = models.PositiveIntegerField(help_text="tokens")
    needed_estimate_bytes = models.PositiveBigIntegerField()
    measured_bytes = models.PositiveBigIntegerField()
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("-at",)
        constraints = (models.UniqueConstraint(fields=("sha256", "context"), name="one_measure_of_a_load"),)

    def __str__(self) -> str:
        return f"{self.sha256[:12]} with {self.context} tokens: {self.measured_bytes} bytes"
