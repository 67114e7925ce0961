"""Are the promoted bytes still the promoted bytes? On demand, and in the background for ever."""

import contextlib
import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.utils import timezone

from registry import store
from registry.models import Artifact
from registry.quarantine.formats.manifest import Manifest
from registry.quarantine.inspect import Member, inspect_files
from registry.record import is_record_of
from registry.services import fail_model
from secai_site.kernel.errors import NotFound, ServiceError
from secai_site.kernel.files import Unreadable, open_below

Progress = Callable[[float, str], None]
SHOWN = 20
log = logging.getLogger(__name__)


def verify_all(
    progress: Progress, *, name: str | None = None, unload: Callable[[str], None] = lambda _name: None
) -> dict[str, Any]:
    """Hash every model (or one) again and take out of use what changed; `unload` hears of each at once.

    A model that the machine cannot read just now counts as failed in the report and stays as it is.

    Returns `{"ok", "checked", "verified_at", "models": [{"name", "status": "verified"|"failed"|"missing",
    "expected", "actual", "tensors": {"checked", "failed", "changed"}}]}`; `failed` counts tensors and `changed`
    names the first of them, null where the file is no longer readable as a model. Bytes under several names are
    read once.
    """
    rows = list(Artifact.objects.filter(name=name) if name else Artifact.objects.all())
    total = sum(row.size_bytes for row in rows) or 1
    looked: dict[str, dict[str, Any]] = {}
    done = 0
    for row in rows:
        if row.sha256 not in looked:
            looked[row.sha256] = _look(row, _share(progress, done, total, row.name), unload)
        elif looked[row.sha256]["status"] != "verified":
            unload(row.name)
        done += row.size_bytes
    results = [_verdict(row, looked[row.sha256]) for row in rows]
    return {
        "ok": all(result["status"] == "verified" for result in results),
        "checked": len(results),
        "verified_at": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "models": results,
    }


def _share(progress: Progress, done: int, total: int, name: str) -> Callable[[int], None]:
    """The progress of one model as its share of all."""
    return lambda read: progress((done + read) / total, name)


def _look(row: Artifact, read: Callable[[int], None], unload: Callable[[str], None]) -> dict[str, Any]:
    """What the store holds under the row's digest: `status`, `actual`, `tensors`, and why it failed."""
    parts = [file["path"] for file in row.files]
    count = int(row.facts.get("tensor_count") or 0)
    try:
        actual = store.digest_of(row.sha256, parts, read)
    except NotFound:
        unload(row.name)
        return {"status": "missing", "actual": None, "tensors": _tensors(count, None), "why": "missing"}
    except (Unreadable, OSError) as error:
        log.warning("%s cannot be read now: %s", row.name, error)
        return {"status": "failed", "actual": None, "tensors": _tensors(count, None), "why": ""}
    except ServiceError:
        unload(row.name)
        return {"status": "failed", "actual": None, "tensors": _tensors(count, None), "why": "unreadable"}
    if actual != row.sha256:
        unload(row.name)  # before the slow search for what changed
        tensors = _tensors(count, _changed(row, parts))
        return {"status": "failed", "actual": actual, "tensors": tensors, "why": "changed"}
    return {"status": "verified", "actual": actual, "tensors": _tensors(count, []), "why": ""}


def _tensors(count: int, changed: list[str] | None) -> dict[str, Any]:
    failed = None if changed is None else len(changed)
    return {"checked": count, "failed": failed, "changed": changed[:SHOWN] if changed else []}


def _changed(row: Artifact, parts: list[str]) -> list[str] | None:
    """Names of the tensors that are not as promoted; None where it cannot be told any more."""
    with contextlib.ExitStack() as opened:
        try:
            before = Manifest.read(store.manifest_path(row.sha256))
            members = [_member(row, path, opened) for path in parts or [""]]
        except (ServiceError, OSError, ValueError):
            return None
        now = inspect_files(members, is_set=bool(parts))
    return before.changed(now.manifest) if now.manifest is not None else None


def _member(row: Artifact, path: str, opened: contextlib.ExitStack) -> Member:
    target = store.store_path(row.sha256)
    descriptor = open_below(settings.MODELS_DIR, str(target / path) if path else str(target))
    opened.callback(os.close, descriptor)
    return Member(path or row.name, descriptor)


def _verdict(row: Artifact, found: dict[str, Any]) -> dict[str, Any]:
    """What is said of one row, after it was taken out of use where it must be."""
    status, why = found["status"], found["why"]
    if status == "verified" and not is_record_of(row.record, name=row.name, sha256=row.sha256):
        status, why = "failed", "record"
    if status != "verified" and why:
        fail_model(artifact=row, actual=found["actual"], why=why)
    elif status == "verified" and row.is_sound:
        Artifact.objects.filter(pk=row.pk).update(verified_at=timezone.now())
    elif status == "verified":
        status = "failed"  # sound again does not mean trusted again: only a new scan promotes
    return {
        "name": row.name, "status": status, "expected": row.sha256, "actual": found["actual"],
        "tensors": found["tensors"],
    }  # fmt: skip
