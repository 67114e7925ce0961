"""manage.py create_operator NAME --password-file F: claim a box without a browser."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from secai_site.kernel.auth.people import create_person
from secai_site.kernel.auth.scopes import Role
from secai_site.kernel.errors import ServiceError


class Command(BaseCommand):
    help = "Add an operator; the password is read from a file, or from standard input with “-”."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--password-file", required=True)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            source = options["password_file"]
            text = sys.stdin.read() if source == "-" else open(source, encoding="utf-8").read()  # noqa: SIM115
            user = create_person(
                username=options["name"], password=text.rstrip("\r\n"), role=Role.OPERATOR, actor="console"
            )
        except OSError as error:
            raise CommandError(f"The password file cannot be read: {error.strerror}") from error
        except ServiceError as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"{user.username} is an operator of this box.")
