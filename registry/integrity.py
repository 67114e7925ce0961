"""Are the promoted bytes still the promoted bytes? On demand, and in the background for ever."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.utils import timezone

from registry.models import Artifact
from registry.services import fail_model
from secai_site.kernel.errors import NotFound, ServiceError
from secai_site.kernel.files import open_below, sha256_of

Progress = Callable[[float, str], None]


def verify_all(progress: Progress, *, name: str | None = None) -> dict[str, Any]:
    """Hash every model (or one) again and take out of use what changed.

    Returns `{"ok", "checked", "verified_at", "models": [{"name", "status": "verified"|"failed"|"missing",
    "expected", "actual", "tensors"}]}`.
    """
    rows = list(Artifact.objects.filter(name=name) if name else Artifact.objects.all())
    total = sum(row.size_bytes for row in rows) or 1
    done, results = 0, []
    for row in rows:
        results.append(_verify(row, _share(progress, done, total, row.name)))
        done += row.size_bytes
    return {
        "ok": all(result["status"] == "verified" for result in results),
        "checked": len(results),
        "verified_at": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "models": results,
    }


def _share(progress: Progress, done: int, total: int, name: str) -> Callable[[int], None]:
    """The progress of one model as its share of all."""
    return lambda read: progress((done + read) / total, name)


def _verify(row: Artifact, read: Callable[[int], None]) -> dict[str, Any]:
    status, actual = _look(row, read)
    if status == "verified" and row.is_sound:
        Artifact.objects.filter(pk=row.pk).update(verified_at=timezone.now())
    elif status != "verified":
        fail_model(artifact=row, actual=actual)
    else:
        status = "failed"  # sound again does not mean trusted again: only a new scan promotes
    tensors = {
        "checked": int(row.facts.get("tensor_count") or 0),
        "failed": 0 if status == "verified" else None,
    }
    return {"name": row.name, "status": status, "expected": row.sha256, "actual": actual, "tensors": tensors}


def _look(row: Artifact, read: Callable[[int], None]) -> tuple[str, str | None]:
    try:
        descriptor = open_below(settings.MODELS_DIR, row.path)
    except NotFound:
        return "missing", None
    except ServiceError:
        return "failed", None
    try:
        actual = sha256_of(descriptor, read)
    finally:
        os.close(descriptor)
    return ("verified" if actual == row.sha256 else "failed"), actual
