"""The box's own promotion record: a statement about a model, sealed with this box's key."""

import hashlib
import hmac
import json
from typing import Any

from django.conf import settings
from django.utils import timezone

from secai_site.kernel.audit.chain import derive_key


def promotion_record(*, name: str, sha256: str, verdicts: dict[str, str]) -> dict[str, Any]:
    """What was promoted, when, by which verdicts; `seal` is an HMAC-SHA-256 over the rest."""
    statement: dict[str, Any] = {
        "name": name, "sha256": sha256, "verdicts": verdicts, "version": settings.VERSION,
        "promoted_at": timezone.now().isoformat(timespec="seconds"),
    }  # fmt: skip
    return {**statement, "seal": _seal(statement)}


def record_is_genuine(record: dict[str, Any]) -> bool:
    """Whether this box made the record and nobody changed it."""
    statement = {key: value for key, value in record.items() if key != "seal"}
    return hmac.compare_digest(str(record.get("seal", "")), _seal(statement))


def _seal(statement: dict[str, Any]) -> str:
    key = derive_key(settings.AUDIT_KEY, "promotion")
    return hmac.new(key, json.dumps(statement, sort_keys=True).encode(), hashlib.sha256).hexdigest()
