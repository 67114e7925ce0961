"""Clearing up: what a crash left behind and no row owns, and refused files whose time for review is over."""

import shutil
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from registry import policies, services, store
from registry.intake import NOTE
from registry.lifecycle import ItemStatus
from registry.models import Artifact, QuarantineItem
from secai_site.kernel.files import sync_folder

LEFTOVER_S = 3600


def sweep(now: float | None = None) -> dict[str, Any]:
    """Delete old uploads, folders of unknown items, store entries without a row, refused files past their time."""
    horizon = (now or time.time()) - LEFTOVER_S
    root = Path(settings.QUARANTINE_DIR)
    removed = _clear(root / "incoming", horizon, keep=set())
    known = QuarantineItem.objects.exclude(status="promoted").values_list("pk", flat=True)
    noted = {note.parent.name for note in root.glob(f"*/{NOTE}") if (note.parent / "artifact").exists()}
    removed += _clear(root, horizon, keep={"incoming", *map(str, known), *noted})
    with store.locked():
        owned = set(Artifact.objects.filter(status="promoted").values_list("sha256", flat=True))
        removed += _clear(Path(settings.MODELS_DIR), horizon, keep={".lock", *owned})
    sync_folder(root)
    return {"removed": removed, "expired": _expire()}


def _clear(folder: Path, horizon: float, keep: set[str]) -> int:
    removed = 0
    for entry in folder.iterdir():
        if entry.name in keep or entry.lstat().st_mtime >= horizon:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
        removed += 1
    return removed


def _expire() -> int:
    """Drop refused files that the policy keeps no longer."""
    policy, _number = policies.current()
    old = timezone.now() - timedelta(days=policy.keep_refused_days)
    expired = list(QuarantineItem.objects.filter(status=ItemStatus.REFUSED.value, updated_at__lt=old))
    for item in expired:
        services.drop(item=item, actor="service:sweep")
    return len(expired)
