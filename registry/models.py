"""What the registry keeps: promoted artifacts, quarantined files, and each stage's verdict."""

import uuid
from pathlib import Path

from django.conf import settings
from django.db import models
from django.utils import timezone

from registry.lifecycle import ItemStatus, Verdict
from registry.names import key_of

MANIFEST = "manifest.json"


class Artifact(models.Model):
    """A promoted model. Its bytes lie in the store under their own SHA-256 and never change."""

    name = models.CharField(max_length=128)
    name_key = models.CharField(max_length=128, unique=True, editable=False)
    path = models.CharField(max_length=500)
    sha256 = models.CharField(max_length=64, db_index=True)
    size_bytes = models.PositiveBigIntegerField()
    files = models.JSONField(
        default=list, help_text="path, sha256 and size_bytes of each; empty for one file"
    )
    format = models.CharField(max_length=20)
    source = models.CharField(max_length=500)
    status = models.CharField(
        max_length=20, default="promoted", help_text="promoted, or failed: its file changed"
    )
    promoted_at = models.DateTimeField(default=timezone.now)
    promoted_by = models.CharField(max_length=120)
    verified_at = models.DateTimeField(default=timezone.now)
    gguf_guard_fingerprint = models.CharField(max_length=64, blank=True)
    gguf_guard_manifest = models.CharField(
        max_length=64, blank=True, help_text="Merkle root over all tensors"
    )
    facts = models.JSONField(default=dict)
    scan = models.JSONField(default=list, help_text="each stage's verdict and evidence at promotion")
    record = models.JSONField(default=dict, help_text="the box's own signed promotion record")

    class Meta:
        ordering = ("name_key",)
        verbose_name = "model"

    def __str__(self) -> str:
        return self.name

    def save(self, *args: object, **kwargs: object) -> None:
        self.name_key = key_of(self.name)
        super().save(*args, **kwargs)  # type: ignore[arg-type]

    @property
    def is_sound(self) -> bool:
        """Whether the bytes were as promoted when last checked."""
        return self.status == "promoted"


class QuarantineItem(models.Model):
    """A file that somebody wants to use as a model; nothing runs it until every stage has passed."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=128)
    filename = models.CharField(max_length=255)
    sha256 = models.CharField(max_length=64, db_index=True)
    size_bytes = models.PositiveBigIntegerField()
    files = models.JSONField(
        default=list, help_text="path, sha256 and size_bytes of each; empty for one file"
    )
    source = models.CharField(max_length=500)
    pin = models.CharField(
        max_length=64, blank=True, help_text="the SHA-256 that it must have, if one was named"
    )
    policy_version = models.PositiveIntegerField(default=0, help_text="the policy of its last scan")
    status = models.CharField(max_length=20, default=ItemStatus.WAITING.value, db_index=True)
    reason = models.CharField(max_length=500, blank=True)
    submitted_by = models.CharField(max_length=120)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("-created_at",)
        verbose_name = "quarantined file"

    def __str__(self) -> str:
        return f"{self.name} ({self.status})"

    @property
    def folder(self) -> Path:
        """Where its file lies."""
        return Path(settings.QUARANTINE_DIR) / str(self.pk)

    @property
    def file(self) -> Path:
        """Its only file, or the folder of its files, under a name of ours."""
        return self.folder / "artifact"

    @property
    def manifest(self) -> Path:
        """The digests of its tensors, written by the scan."""
        return self.folder / MANIFEST

    @property
    def signature(self) -> Path:
        """Its detached signature, if one came with it."""
        return self.folder / "signature"


class PolicyVersion(models.Model):
    """One version of the operator's policy; the newest is in force, and none is ever changed."""

    number = models.PositiveIntegerField(primary_key=True)
    document = models.JSONField()
    sha256 = models.CharField(max_length=64)
    note = models.CharField(max_length=200, blank=True)
    author = models.CharField(max_length=120)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("-number",)
        verbose_name = "policy version"

    def __str__(self) -> str:
        return f"policy {self.number}"


class TrustedKey(models.Model):
    """A public key whose signatures on models the operator trusts."""

    name = models.CharField(max_length=120, unique=True)
    kind = models.CharField(max_length=20, help_text="minisign or pem")
    public_key = models.TextField()
    fingerprint = models.CharField(max_length=64, unique=True, help_text="SHA-256 of the key, hex")
    added_by = models.CharField(max_length=120)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("name",)
        verbose_name = "trusted key"

    def __str__(self) -> str:
        return self.name


class StageResult(models.Model):
    """What one stage said of one file, bound to the bytes it looked at."""

    item = models.ForeignKey(QuarantineItem, on_delete=models.CASCADE, related_name="stages")
    position = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=40)
    verdict = models.CharField(max_length=20, default=Verdict.PENDING.value)
    reason = models.CharField(max_length=500, blank=True)
    evidence = models.JSONField(default=dict)
    duration_ms = models.PositiveIntegerField(default=0)
    version = models.CharField(max_length=20)
    sha256 = models.CharField(max_length=64)

    class Meta:
        ordering = ("position",)
        constraints = (models.UniqueConstraint(fields=("item", "name"), name="one_result_a_stage"),)

    def __str__(self) -> str:
        return f"{self.name}: {self.verdict}"
