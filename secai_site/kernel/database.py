"""Where SQLite and PostgreSQL differ: both ways in one module."""

from django.db.backends.base.schema import BaseDatabaseSchemaEditor

# An UPDATE trigger only: a DELETE trigger would stop the test runner from emptying the table, and a missing
# event is found by the chain.
_REFUSE_UPDATE = {
    "sqlite": [
        """CREATE TRIGGER audit_event_no_update BEFORE UPDATE ON audit_auditevent
           BEGIN SELECT RAISE(ABORT, 'audit events are append-only'); END""",
    ],
    "postgresql": [
        """CREATE FUNCTION audit_event_no_update() RETURNS trigger AS $$
           BEGIN RAISE EXCEPTION 'audit events are append-only'; END $$ LANGUAGE plpgsql""",
        """CREATE TRIGGER audit_event_no_update BEFORE UPDATE ON audit_auditevent
           FOR EACH ROW EXECUTE FUNCTION audit_event_no_update()""",
    ],
}


def refuse_updates(editor: BaseDatabaseSchemaEditor) -> None:
    """Make the database itself refuse to change an audit event (for the migration that adds the table)."""
    for statement in _REFUSE_UPDATE[editor.connection.vendor]:
        editor.execute(statement)


def allow_updates(editor: BaseDatabaseSchemaEditor) -> None:
    """Undo `refuse_updates`."""
    on = "" if editor.connection.vendor == "sqlite" else " ON audit_auditevent"
    editor.execute(f"DROP TRIGGER audit_event_no_update{on}")
    if editor.connection.vendor == "postgresql":
        editor.execute("DROP FUNCTION audit_event_no_update()")
