"""manage.py model_rescan: check quarantined files again, after a change of the policy or an update."""

from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from registry import services
from registry.lifecycle import ItemStatus
from registry.models import QuarantineItem
from secai_site.kernel.errors import ServiceError


class Command(BaseCommand):
    help = "Queue another scan of quarantined files: by id, by name, or of all that were refused."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("items", nargs="*", metavar="ID or NAME")
        parser.add_argument("--refused", action="store_true", help="all refused files")

    def handle(self, *args: Any, **options: Any) -> None:
        chosen = [item for wanted in options["items"] for item in found(wanted)]
        if options["refused"]:
            chosen += QuarantineItem.objects.filter(status=ItemStatus.REFUSED.value)
        if not chosen:
            raise CommandError(
                "Say which: an id, a name, or --refused. manage.py quarantine_report lists them."
            )
        for item in dict.fromkeys(chosen):
            try:
                services.rescan(item=item, actor="service:command")
            except ServiceError as error:
                raise CommandError(f"{item.name}: {error.message}") from error
            self.stdout.write(f"{item.name} ({item.pk}) is scanned again.")


def found(wanted: str) -> list[QuarantineItem]:
    """The items with this id or name that are not promoted; raises `CommandError` when there is none."""
    items = QuarantineItem.objects.exclude(status=ItemStatus.PROMOTED.value)
    try:
        matching = list(items.filter(pk=UUID(wanted)))
    except ValueError:
        matching = list(items.filter(name=wanted))
    if not matching:
        raise CommandError(f"There is nothing called {wanted!r} in quarantine.")
    return matching
