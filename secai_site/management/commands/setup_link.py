"""manage.py setup_link: a fresh one-time link to claim a box that has no operator yet."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from secai_site.management.commands.serve import setup_link


class Command(BaseCommand):
    help = "Print a one-time link with which the first operator claims this box. Earlier links stop working."

    def handle(self, *args: Any, **options: Any) -> None:
        link = setup_link()
        if link is None:
            raise CommandError("This box has an operator already; further people are added in the admin.")
        self.stdout.write(link)
