"""manage.py model_verify: are the promoted bytes still the promoted bytes?"""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from registry import selectors
from registry.integrity import verify_all
from registry.jobs import unload
from registry.tables import table
from secai_site.kernel.errors import ServiceError


class Command(BaseCommand):
    help = "Hash one model or all again; whatever changed is taken out of use. Fails when one did."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", nargs="?")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            name = selectors.find_model(options["name"]).name if options["name"] else None
        except ServiceError as error:
            raise CommandError(error.message) from error
        tell = self.tell if self.stderr.isatty() else lambda _done, _name: None
        report = verify_all(tell, name=name, unload=unload)
        if options["json"]:
            self.stdout.write(json.dumps(report, indent=1))
        else:
            self.show(report["models"])
        if not report["ok"]:
            raise CommandError("At least one model is not what was promoted; it is out of use now.")

    def tell(self, fraction: float, name: str) -> None:
        """Progress on one line of the terminal."""
        self.stderr.write(f"\r{fraction:6.1%} {name[:60]:60}", ending="")

    def show(self, models: list[dict[str, Any]]) -> None:
        """The report as a table."""
        rows = [
            (m["name"], m["status"], m["tensors"]["checked"], m["tensors"]["failed"], m["expected"][:16])
            for m in models
        ]
        self.stdout.write(table(("name", "status", "tensors", "changed", "sha256"), rows))
