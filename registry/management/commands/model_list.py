"""manage.py model_list: the promoted models."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from registry import selectors
from registry.tables import size, table

COLUMNS = ("name", "status", "purpose", "format", "quantization", "size", "sha256")


class Command(BaseCommand):
    help = "List the promoted models, as a table or, with --json, as /v1/models gives them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        models: list[dict[str, Any]] = [dict(model) for model in selectors.all_models()]
        if options["json"]:
            self.stdout.write(json.dumps(models, indent=1))
        elif not models:
            self.stdout.write("There are no models. Put one into quarantine: manage.py model_import PATH")
        else:
            rows = [
                model | {"size": size(model["size_bytes"]), "sha256": model["sha256"][:16]}
                for model in models
            ]
            self.stdout.write(table(COLUMNS, [[row[name] for name in COLUMNS] for row in rows]))
