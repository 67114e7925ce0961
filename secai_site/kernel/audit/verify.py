"""Reading the chain back: is every event there, unchanged and in order?"""

from dataclasses import dataclass

from secai_site.kernel.audit import checkpoint
from secai_site.kernel.audit.chain import GENESIS, mac, sign_head
from secai_site.kernel.audit.log import chain_key, head_key
from secai_site.kernel.audit.models import AuditEvent, AuditHead


@dataclass(frozen=True, slots=True)
class Verification:
    """`checked` events were read; `problem` is a sentence about the first fault, `at` its sequence."""

    ok: bool
    checked: int
    problem: str | None = None
    at: int | None = None


def verify() -> Verification:
    """Check the whole chain against its keys, its head and the checkpoint outside the database."""
    key, previous, expected = chain_key(), GENESIS, 1
    marked = _checkpoint()
    if isinstance(marked, str):
        return Verification(False, 0, marked)
    # The head is read after the checkpoint and before the events: what is added meanwhile is left for next time.
    head = AuditHead.objects.filter(id=1).first() or AuditHead()
    events = AuditEvent.objects.filter(sequence__lte=head.count).order_by("sequence")
    for event in events.iterator(chunk_size=2000):
        if event.sequence != expected:
            return Verification(False, expected - 1, f"event {expected} is missing", expected)
        if mac(key, previous, event.entry) != event.mac:
            return Verification(False, expected - 1, f"event {expected} was changed or moved", expected)
        if marked is not None and marked.count == expected and marked.mac != event.mac:
            return Verification(False, expected, f"event {expected} differs from the checkpoint", expected)
        previous, expected = event.mac, expected + 1
    return _check_ends(head, expected - 1, previous, marked)


def _newest() -> int:
    newest = AuditEvent.objects.order_by("-sequence").values_list("sequence", flat=True).first()
    return newest or 0


def _count_now() -> int:
    head = AuditHead.objects.filter(id=1).first()
    return head.count if head else 0


def _checkpoint() -> checkpoint.Checkpoint | str | None:
    try:
        return checkpoint.read(head_key())
    except checkpoint.CheckpointForged as error:
        return str(error)


def _check_ends(head: AuditHead, count: int, last: str, marked: checkpoint.Checkpoint | None) -> Verification:
    sealed = not count or head.seal == sign_head(head_key(), count, last)
    if head.count != count or head.mac != last or not sealed or _newest() > _count_now():
        return Verification(False, count, "the end of the chain was cut off, or its head was changed", count)
    if marked is None and count:
        return Verification(False, count, "the checkpoint file beside the database is missing", count)
    if marked is not None and marked.count > count:
        return Verification(
            False,
            count,
            f"the database is older than its checkpoint ({count} of {marked.count} events)",
            count,
        )
    return Verification(True, count)
