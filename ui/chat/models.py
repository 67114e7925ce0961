"""Conversations as trees of messages."""

import uuid
from enum import StrEnum

from django.conf import settings
from django.db import models
from django.utils import timezone


class MessageState(StrEnum):
    """How a message stands; only answers are ever anything but complete."""

    COMPLETE = "complete"
    QUEUED = "queued"
    WRITING = "writing"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


RUNNING = (MessageState.QUEUED.value, MessageState.WRITING.value)


class Conversation(models.Model):
    """One conversation of one person. `active_leaf` is the message that was looked at last."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="conversations"
    )
    title = models.CharField(max_length=200)
    model = models.CharField(max_length=128, blank=True)
    system = models.TextField(blank=True)
    parameters = models.JSONField(default=dict)
    folder = models.CharField(max_length=100, blank=True)
    pinned = models.BooleanField(default=False)
    active_leaf = models.UUIDField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    deleted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-updated_at",)
        indexes = (
            models.Index(fields=("owner", "deleted_at", "-updated_at"), name="conversations_of_owner"),
        )

    def __str__(self) -> str:
        return f"conversation {self.pk}"


class Message(models.Model):
    """One message. An answer's id is also the id of its generation in the engine."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="messages")
    parent = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.CASCADE, related_name="children"
    )
    role = models.CharField(max_length=20)
    content = models.TextField(blank=True)
    state = models.CharField(max_length=20, default=MessageState.COMPLETE.value, db_index=True)
    finish_reason = models.CharField(max_length=20, blank=True)
    error = models.CharField(max_length=500, blank=True)
    error_code = models.CharField(max_length=80, blank=True)
    model = models.CharField(max_length=128, blank=True)
    usage = models.JSONField(null=True)
    timings = models.JSONField(null=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("created_at",)

    def __str__(self) -> str:
        return f"{self.role} message {self.pk}"

    @property
    def is_running(self) -> bool:
        """Whether the engine still owes (more of) it."""
        return self.state in RUNNING
