"""Writing the audit log: one writer, one event, inside the transaction of what it records."""

from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from secai_site.kernel.audit import checkpoint
from secai_site.kernel.audit.chain import Entry, derive_key, mac, sign_head
from secai_site.kernel.audit.models import AuditEvent, AuditHead
from secai_site.kernel.errors import Unavailable

DETAIL_LIMIT = 4096


class AuditUnavailable(Unavailable):
    """The event cannot be recorded, so what it would record must not happen."""

    code = "audit.unavailable"


def record(
    action: str, *, actor: str, target: str = "", outcome: str = "done", detail: dict[str, Any] | None = None
) -> AuditEvent:
    """Append one event; must run inside the transaction of the change that it records.

    `action` reads `source.subject:action`, `outcome` is "done", "refused" or "failed". Never put a prompt, a
    document, a secret or a match into `detail`. Raises `AuditUnavailable` if the event cannot be written.
    """
    if not connection.in_atomic_block:
        raise RuntimeError(f"{action} must be recorded inside the transaction of what it records")
    try:
        return _append(action, actor=actor, target=target, outcome=outcome, detail=detail or {})
    except (DatabaseError, OSError) as error:
        raise AuditUnavailable(
            "Nothing was done, because it could not be written to the audit log. The operator must look at the "
            "disk and the database first."
        ) from error


def _append(action: str, *, actor: str, target: str, outcome: str, detail: dict[str, Any]) -> AuditEvent:
    head, _ = AuditHead.objects.select_for_update().get_or_create(id=1)
    entry = Entry(head.count + 1, timezone.now(), action, actor[:120], target[:200], outcome, detail)
    event = AuditEvent(
        sequence=entry.sequence, at=entry.at, action=entry.action, actor=entry.actor, target=entry.target,
        outcome=entry.outcome, detail=entry.detail, mac=mac(chain_key(), head.mac, entry),
    )  # fmt: skip
    event.save(force_insert=True)
    head.count, head.mac = event.sequence, event.mac
    head.seal = sign_head(head_key(), head.count, head.mac)
    head.save(update_fields=["count", "mac", "seal"])
    transaction.on_commit(
        lambda: checkpoint.write(event.sequence, event.mac, head_key(), _continues), robust=True
    )
    return event


def _continues(mark: checkpoint.Checkpoint) -> bool:
    return AuditEvent.objects.filter(sequence=mark.count, mac=mark.mac).exists()


def record_refusal(action: str, *, actor: str, target: str = "", code: str) -> None:
    """Record that something was refused, in a transaction of its own."""
    with transaction.atomic():
        record(action, actor=actor, target=target, outcome="refused", detail={"code": code})


def chain_key() -> bytes:
    """The key of the events' MACs."""
    return derive_key(settings.AUDIT_KEY, "chain")


def head_key() -> bytes:
    """The key of the head's and the checkpoint's seal."""
    return derive_key(settings.AUDIT_KEY, "head")
