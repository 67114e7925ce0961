from django.db import migrations

from secai_site.kernel.database import allow_updates, refuse_updates


class Migration(migrations.Migration):
    """The database itself refuses to change an audit event."""

    dependencies = [("audit", "0001_initial")]

    operations = [
        migrations.RunPython(
            lambda _apps, editor: refuse_updates(editor), lambda _apps, editor: allow_updates(editor)
        )
    ]
