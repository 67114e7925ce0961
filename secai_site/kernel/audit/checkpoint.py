"""The head of the chain in a second place: a sealed file beside the database.

Whoever puts back an old copy of the database cannot put back this file with it unnoticed, and whoever puts back
both is found by any checkpoint that was carried off the box. The file is written after the commit, so it is
never ahead of the database except when somebody took events away.
"""

import fcntl
import hmac
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from secai_site.kernel.audit.chain import sign_head


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The chain had `count` events, the last with this MAC."""

    count: int
    mac: str


class CheckpointForged(ValueError):
    """The checkpoint file is damaged or its seal is not ours."""


def write(count: int, mac: str, key: bytes, continues: Callable[[Checkpoint], bool]) -> None:
    """Move the checkpoint on to `count`; never back, whichever process comes first.

    `continues` says whether the chain still holds the event that the checkpoint names. A restored old database
    that has grown past the checkpoint does not, and then the checkpoint stays: it is the evidence.
    """
    path = Path(settings.AUDIT_HEAD)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            current = read(key)
        except CheckpointForged:
            return  # left as it is: audit_verify must see it
        if current is not None and (current.count >= count or not continues(current)):
            return
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps({"count": count, "mac": mac, "seal": sign_head(key, count, mac)}))
        os.replace(draft, path)


def read(key: bytes) -> Checkpoint | None:
    """The checkpoint, or None if there is none yet; raises `CheckpointForged`."""
    try:
        raw = json.loads(Path(settings.AUDIT_HEAD).read_text())
        count, mac, seal = int(raw["count"]), str(raw["mac"]), str(raw["seal"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointForged(f"the checkpoint file is not readable: {error}") from error
    if not hmac.compare_digest(seal, sign_head(key, count, mac)):
        raise CheckpointForged("the seal of the checkpoint file is not good")
    return Checkpoint(count, mac)
