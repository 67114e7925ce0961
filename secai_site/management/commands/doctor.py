"""manage.py doctor: what is missing or weak on this host."""

from typing import Any

from django.core.management.base import BaseCommand

from secai_site.doctor import examine

MARKS = {"good": "ok  ", "weak": "weak", "bad": "BAD "}


class Command(BaseCommand):
    help = "Tell what is missing or weak on this host; exit status 1 when something will not work."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        bad = False
        for finding in examine():
            bad = bad or finding.state == "bad"
            self.stdout.write(f"{MARKS[finding.state]}  {finding.what}")
            if finding.advice:
                self.stdout.write(f"      {finding.advice}")
        if bad:
            raise SystemExit(1)
