"""Audit events and the head of their chain."""

from typing import Any, NoReturn

from django.db import models

from secai_site.kernel.audit.chain import GENESIS, Entry


class AppendOnly(TypeError):
    """Audit events are neither changed nor deleted through the ORM."""


class AuditEventQuerySet(models.QuerySet["AuditEvent"]):
    def update(self, **kwargs: Any) -> NoReturn:
        raise AppendOnly("audit events are append-only")

    def delete(self) -> NoReturn:
        raise AppendOnly("audit events are append-only")


class AuditEvent(models.Model):
    """One thing that happened, linked by its MAC to the one before it."""

    sequence = models.PositiveBigIntegerField(primary_key=True)
    at = models.DateTimeField(db_index=True)
    action = models.CharField(max_length=80, db_index=True, help_text="source.subject:action")
    actor = models.CharField(max_length=120, db_index=True)
    target = models.CharField(max_length=200, blank=True)
    outcome = models.CharField(max_length=20)
    detail = models.JSONField(default=dict)
    mac = models.CharField(max_length=64)

    objects = AuditEventQuerySet.as_manager()

    class Meta:
        ordering = ("-sequence",)
        verbose_name = "audit event"

    def __str__(self) -> str:
        return f"{self.sequence} {self.action}"

    @property
    def entry(self) -> Entry:
        """What the MAC covers."""
        return Entry(self.sequence, self.at, self.action, self.actor, self.target, self.outcome, self.detail)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnly("audit events are append-only")


class AuditHead(models.Model):
    """How long the chain is and how it ends; one row, written with each event."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    count = models.PositiveBigIntegerField(default=0)
    mac = models.CharField(max_length=64, default=GENESIS)
    seal = models.CharField(max_length=64, default="")

    class Meta:
        verbose_name = "audit head"

    def __str__(self) -> str:
        return f"{self.count} events"
