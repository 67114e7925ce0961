"""Long work as rows: queued, claimed by one worker, finished once."""

import uuid
from enum import StrEnum

from django.conf import settings
from django.db import models
from django.utils import timezone


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})


class Job(models.Model):
    """One piece of work. `progress` is 0…1, `stage` a short sentence for people."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=80, db_index=True)
    arguments = models.JSONField(default=dict)
    subject = models.CharField(max_length=200, blank=True, db_index=True, help_text="what the job works on")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.CASCADE, related_name="+"
    )
    state = models.CharField(max_length=20, default=JobState.QUEUED.value, db_index=True)
    progress = models.FloatField(null=True)
    stage = models.CharField(max_length=200, blank=True)
    result = models.JSONField(null=True)
    error = models.CharField(max_length=500, blank=True)
    error_code = models.CharField(max_length=80, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    run_after = models.DateTimeField(default=timezone.now)
    cancel_requested = models.BooleanField(default=False)
    leased_by = models.CharField(max_length=80, blank=True)
    lease_until = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-created_at",)
        indexes = (models.Index(fields=("state", "run_after"), name="jobs_ready"),)

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}".strip()


class Schedule(models.Model):
    """When a recurring kind of job is due next."""

    kind = models.CharField(primary_key=True, max_length=80)
    due_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.kind} due {self.due_at:%H:%M:%S}"
