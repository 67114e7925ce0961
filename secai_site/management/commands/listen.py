"""manage.py listen NAME: run one process of the box in the foreground (for systemd)."""

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from secai_site import processes
from secai_site.listeners import LISTENERS, WORKERS


class Command(BaseCommand):
    help = "Run one listener, the job worker or the engine. Run `manage.py prepare` once before."
    requires_system_checks = "__all__"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", choices=[*LISTENERS, *WORKERS])

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("check", "--fail-level", "ERROR", verbosity=0)
        try:
            processes.target(options["name"])()
        except LookupError as error:
            raise CommandError(f"unknown: {error}") from error
