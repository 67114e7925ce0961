"""manage.py quarantine_report: what is in quarantine, and why."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from registry import policies, selectors
from registry.contract import QuarantineRecord
from registry.tables import size, table

COLUMNS = ("id", "name", "status", "stage", "size", "reason")


class Command(BaseCommand):
    help = "What is in quarantine and why, as a table or, with --json, with all verdicts and evidence."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        policy, number = policies.current()
        items = selectors.open_items()
        if options["json"]:
            report = {
                "policy": {"number": number, "sha256": policy.sha256, **policy.document()},
                "items": items,
            }
            self.stdout.write(json.dumps(report, indent=1))
            return
        self.stdout.write(f"Policy {number} ({policy.sha256[:16]}), {len(items)} in quarantine")
        if items:
            self.stdout.write(table(COLUMNS, [row_of(item) for item in items]))


def row_of(item: QuarantineRecord) -> tuple[object, ...]:
    """The item on one line: the stage is the last one that said something."""
    decided = [stage["name"] for stage in item["stages"] if stage["verdict"] != "pending"]
    stage = decided[-1] if decided else None
    return item["id"], item["name"], item["status"], stage, size(item["size_bytes"]), item["reason"]
