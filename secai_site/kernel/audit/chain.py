"""The chain itself, pure: each record's MAC covers the record and the MAC before it."""

import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

GENESIS = "0" * 64


@dataclass(frozen=True, slots=True)
class Entry:
    """What one MAC covers. `sequence` counts from 1 without gaps; `at` is UTC with microseconds."""

    sequence: int
    at: datetime
    action: str
    actor: str
    target: str
    outcome: str
    detail: dict[str, Any]

    def canonical(self) -> bytes:
        """The one byte string of this entry: compact JSON with sorted keys."""
        fields = [
            self.sequence, self.at.astimezone(UTC).isoformat(timespec="microseconds"), self.action, self.actor,
            self.target, self.outcome, self.detail,
        ]  # fmt: skip
        return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def derive_key(secret: str, purpose: str) -> bytes:
    """A key for one purpose from the box's audit secret."""
    return hmac.new(secret.encode(), b"secai.audit." + purpose.encode(), hashlib.sha256).digest()


def mac(key: bytes, previous: str, entry: Entry) -> str:
    """The MAC (HMAC-SHA-256, 64 hex digits) that links `entry` to the record before it."""
    return hmac.new(key, bytes.fromhex(previous) + entry.canonical(), hashlib.sha256).hexdigest()


def sign_head(key: bytes, count: int, last: str) -> str:
    """The seal of a chain's head: how many records there are and the MAC of the last."""
    return hmac.new(key, f"{count}:{last}".encode(), hashlib.sha256).hexdigest()
