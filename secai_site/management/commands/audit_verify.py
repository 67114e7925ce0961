"""manage.py audit_verify: read the audit chain back."""

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from secai_site.kernel.audit.verify import verify


class Command(BaseCommand):
    help = "Check that every audit event is there, unchanged and in order; exit status 1 when not."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        result = verify()
        if options["json"]:
            self.stdout.write(json.dumps(asdict(result)))
        if not result.ok:
            raise CommandError(
                f"The audit log is not intact: {result.problem} ({result.checked} events were good)."
            )
        if not options["json"]:
            self.stdout.write(f"The audit log is intact: {result.checked} events.")
