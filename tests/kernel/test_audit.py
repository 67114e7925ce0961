"""Whatever is done to the audit log behind the product's back is found."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, connections, transaction

from secai_site.kernel.audit import checkpoint
from secai_site.kernel.audit.chain import mac
from secai_site.kernel.audit.log import AuditUnavailable, chain_key, head_key, record, record_refusal
from secai_site.kernel.audit.models import AppendOnly, AuditEvent, AuditHead
from secai_site.kernel.audit.verify import Verification, verify

pytestmark = pytest.mark.django_db(transaction=True)


def log(*names: str) -> None:
    """Record events, each in a transaction of its own."""
    for name in names:
        with transaction.atomic():
            record(
                f"test.thing:{name}",
                actor="user:1",
                target="thing:1",
                detail={"n": name, "deep": {"a": [1, 2.5, None]}},
            )


def sql(statement: str, *values: Any) -> None:
    """Around the product, straight at the database, triggers and all."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


@pytest.fixture
def five() -> Iterator[None]:
    log("a", "b", "c", "d", "e")
    assert verify() == Verification(True, 5)
    yield
    if connection.vendor == "sqlite":
        connection.close()


@pytest.fixture
def unguarded(five: None) -> Iterator[None]:
    """The trigger is gone, as for somebody who owns the file."""
    from secai_site.kernel.database import allow_updates, refuse_updates

    with connection.schema_editor() as editor:
        allow_updates(editor)
    yield
    with connection.schema_editor() as editor:
        refuse_updates(editor)


def found() -> str:
    """What the verifier says of a log that is not intact."""
    result = verify()
    assert not result.ok
    return str(result.problem)


# --- writing -----------------------------------------------------------------------------------------


def test_an_empty_log_is_intact() -> None:
    assert verify() == Verification(True, 0)


@pytest.mark.usefixtures("five")
def test_events_are_numbered_and_chained() -> None:
    rows = list(AuditEvent.objects.order_by("sequence"))
    assert [row.sequence for row in rows] == [1, 2, 3, 4, 5]
    assert rows[1].mac == mac(chain_key(), rows[0].mac, rows[1].entry)
    assert AuditHead.objects.get().count == 5
    marked = checkpoint.read(head_key())
    assert marked is not None
    assert (marked.count, marked.mac) == (5, rows[4].mac)


def test_an_event_needs_the_transaction_of_what_it_records() -> None:
    with pytest.raises(RuntimeError, match="inside the transaction"):
        record("test.thing:done", actor="user:1")
    assert not AuditEvent.objects.exists()


@pytest.mark.usefixtures("five")
def test_a_rollback_takes_the_event_with_it() -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        record("test.thing:done", actor="user:1")
        raise ZeroDivisionError
    assert verify() == Verification(True, 5)
    log("f")
    assert verify() == Verification(True, 6)


def test_a_refusal_is_recorded_with_its_code() -> None:
    record_refusal("test.thing:done", actor="user:1", target="thing:1", code="thing.taken")
    assert AuditEvent.objects.values_list("outcome", "detail").get() == ("refused", {"code": "thing.taken"})


def test_what_cannot_be_recorded_does_not_happen(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: Any, **_kwargs: Any) -> None:
        raise DatabaseError("database or disk is full")

    monkeypatch.setattr(AuditEvent, "save", full)
    with pytest.raises(AuditUnavailable) as caught:
        log("a")
    assert (caught.value.http_status, caught.value.error_code) == (503, "audit.unavailable")
    assert not AuditEvent.objects.exists()


def test_writers_at_the_same_time_keep_one_chain() -> None:
    def write(n: int) -> None:
        try:
            log(*(f"{n}.{m}" for m in range(10)))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert verify() == Verification(True, 40)


def test_reading_while_others_write_raises_no_false_alarm() -> None:
    log("first")

    def write() -> None:
        try:
            log(*map(str, range(60)))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        results = [verify()]
        while not writing.done():
            results.append(verify())
    assert [result.problem for result in results if not result.ok] == []
    assert verify() == Verification(True, 61)


# --- the guards of the ORM and the database ----------------------------------------------------------


@pytest.mark.usefixtures("five")
def test_the_orm_neither_changes_nor_deletes() -> None:
    with pytest.raises(AppendOnly):
        AuditEvent.objects.update(actor="user:2")
    with pytest.raises(AppendOnly):
        AuditEvent.objects.filter(sequence=1).delete()
    with pytest.raises(AppendOnly):
        AuditEvent.objects.get(sequence=1).delete()


@pytest.mark.usefixtures("five")
def test_the_database_refuses_an_update() -> None:
    row = AuditEvent.objects.get(sequence=2)
    row.actor = "user:2"
    with pytest.raises(DatabaseError, match="append-only"):
        row.save()
    with pytest.raises(DatabaseError, match="append-only"):
        sql("UPDATE audit_auditevent SET actor = 'user:2'")
    assert verify().ok


# --- tampering ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("unguarded")
@pytest.mark.parametrize(
    ("column", "value"),
    [("actor", "user:2"), ("action", "test.thing:z"), ("target", ""), ("outcome", "refused"), ("detail", "{}"),
     ("at", "2020-01-01 00:00:00+00:00"), ("mac", "0" * 64)],
)  # fmt: skip
def test_a_changed_event_is_found(column: str, value: str) -> None:
    sql(f"UPDATE audit_auditevent SET {column} = %s WHERE sequence = 3", value)
    assert found() == "event 3 was changed or moved"


@pytest.mark.usefixtures("five")
def test_a_missing_event_is_found() -> None:
    sql("DELETE FROM audit_auditevent WHERE sequence = 3")
    assert found() == "event 3 is missing"


@pytest.mark.usefixtures("five")
def test_a_cut_tail_is_found() -> None:
    sql("DELETE FROM audit_auditevent WHERE sequence > 3")
    assert "cut off" in found()


@pytest.mark.usefixtures("five")
def test_deleting_everything_is_found() -> None:
    sql("DELETE FROM audit_auditevent")
    assert "cut off" in found()


@pytest.mark.usefixtures("five")
def test_deleting_everything_with_the_head_is_found() -> None:
    sql("DELETE FROM audit_auditevent")
    sql("DELETE FROM audit_audithead")
    assert found() == "the database is older than its checkpoint (0 of 5 events)"


@pytest.mark.usefixtures("five")
def test_a_missing_head_is_found() -> None:
    sql("DELETE FROM audit_audithead")
    assert "cut off" in found()


@pytest.mark.usefixtures("five")
def test_a_forged_head_is_found() -> None:
    AuditHead.objects.update(seal="0" * 64)
    assert "cut off" in found()


@pytest.mark.usefixtures("unguarded")
def test_events_in_another_order_are_found() -> None:
    sql("UPDATE audit_auditevent SET sequence = 99 WHERE sequence = 2")
    sql("UPDATE audit_auditevent SET sequence = 2 WHERE sequence = 4")
    sql("UPDATE audit_auditevent SET sequence = 4 WHERE sequence = 99")
    assert found() == "event 2 was changed or moved"


@pytest.mark.usefixtures("five")
def test_an_inserted_event_is_found() -> None:
    sql(
        "INSERT INTO audit_auditevent (sequence, at, action, actor, target, outcome, detail, mac) "
        "SELECT 6, at, action, actor, target, outcome, detail, mac FROM audit_auditevent WHERE sequence = 5"
    )
    assert "cut off" in found()


@pytest.mark.usefixtures("unguarded")
def test_a_rewrite_of_the_whole_chain_without_the_key_is_found() -> None:
    previous = "0" * 64
    for row in list(AuditEvent.objects.order_by("sequence")):
        row.actor = "user:2"
        forged = mac(b"not the key", previous, row.entry)
        sql(
            "UPDATE audit_auditevent SET actor = 'user:2', mac = %s WHERE sequence = %s", forged, row.sequence
        )
        previous = forged
    assert found() == "event 1 was changed or moved"


@pytest.mark.usefixtures("five")
def test_a_missing_checkpoint_is_found() -> None:
    Path(settings.AUDIT_HEAD).unlink()
    assert found() == "the checkpoint file beside the database is missing"


@pytest.mark.usefixtures("five")
@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"count": "x", "mac": "", "seal": ""}', "null"])
def test_a_damaged_checkpoint_is_found(content: str) -> None:
    Path(settings.AUDIT_HEAD).write_text(content)
    assert "not readable" in found()
    log("more")
    assert "not readable" in found()


@pytest.mark.usefixtures("five")
def test_a_forged_checkpoint_is_found() -> None:
    path = Path(settings.AUDIT_HEAD)
    mark = json.loads(path.read_text())
    path.write_text(json.dumps(mark | {"count": 3}))
    assert found() == "the seal of the checkpoint file is not good"


def restore_after_three() -> None:
    """Three events, a copy of the database, two more events, and the copy comes back."""
    log("a", "b", "c")
    head = AuditHead.objects.get()
    log("d", "e")
    sql("DELETE FROM audit_auditevent WHERE sequence > 3")
    head.save()


def test_yesterdays_database_is_found() -> None:
    restore_after_three()
    assert found() == "the database is older than its checkpoint (3 of 5 events)"


def test_yesterdays_database_is_found_also_after_it_has_grown_again() -> None:
    restore_after_three()
    log("other d", "other e", "f", "g")
    assert found() == "event 5 differs from the checkpoint"


# --- the command -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("five")
def test_the_command_says_so_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("audit_verify")
    assert capsys.readouterr().out == "The audit log is intact: 5 events.\n"
    sql("DELETE FROM audit_auditevent WHERE sequence = 3")
    with pytest.raises(CommandError, match="event 3 is missing"):
        call_command("audit_verify", "--json")
    assert json.loads(capsys.readouterr().out)["ok"] is False
