"""Counters that all processes share."""

from django.db import models


class Counter(models.Model):
    """How often something happened in one window of time; worthless after `expires_at` (Unix seconds)."""

    key = models.CharField(primary_key=True, max_length=200)
    value = models.BigIntegerField()
    expires_at = models.BigIntegerField(db_index=True)

    def __str__(self) -> str:
        return f"{self.key}: {self.value}"
