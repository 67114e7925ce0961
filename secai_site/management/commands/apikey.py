"""manage.py apikey: credentials for programs."""

import re
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from secai_site.kernel.auth import keys
from secai_site.kernel.auth.models import ApiKey, User
from secai_site.kernel.auth.scopes import Role, Scope
from secai_site.kernel.errors import ServiceError

SPAN = re.compile(r"(\d{1,5})([mhd])")
UNITS = {"m": "minutes", "h": "hours", "d": "days"}


class Command(BaseCommand):
    help = "Make, list and revoke API keys. `create` prints the key alone, this once."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        create = actions.add_parser("create", help="make a key and print it")
        create.add_argument("name")
        create.add_argument("--scope", action="append", required=True, choices=[*Scope], help="repeatable")
        create.add_argument("--expires", help="30m, 12h, 90d, or a date and time (default: never)")
        create.add_argument("--owner", help="user name (default: the first operator)")
        actions.add_parser("list", help="list all keys")
        revoke = actions.add_parser("revoke", help="end a key at once")
        revoke.add_argument("prefix", help="secai_<prefix>, as shown by list")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, f"_{options['action']}")(options)
        except ServiceError as error:
            raise CommandError(error.message) from error

    def _create(self, options: dict[str, Any]) -> None:
        _, shown = keys.create_key(
            owner=owner_named(options["owner"]), name=options["name"], scopes=options["scope"],
            expires_at=expiry(options["expires"]), actor="console",
        )  # fmt: skip
        self.stdout.write(shown)

    def _list(self, _options: dict[str, Any]) -> None:
        for key in ApiKey.objects.select_related("owner"):
            state = "live" if key.is_live else "revoked" if key.revoked_at else "expired"
            scopes = ",".join(key.scopes)
            self.stdout.write(f"secai_{key.prefix}  {state:8} {key.owner.username:16} {scopes:24} {key.name}")

    def _revoke(self, options: dict[str, Any]) -> None:
        prefix = options["prefix"].removeprefix("secai_")
        key = ApiKey.objects.filter(prefix=prefix).first()
        if key is None:
            raise CommandError("There is no such key.")
        keys.revoke_key(key=key, actor="console")
        self.stdout.write(f"secai_{prefix} is revoked.")


def owner_named(name: str | None) -> User:
    """The person with this name, or the first operator."""
    people = User.objects.filter(is_active=True)
    found = people.filter(username=name) if name else people.filter(role=Role.OPERATOR.value).order_by("pk")
    owner = found.first()
    if owner is None:
        raise CommandError(
            "There is no such person. Make an operator first: manage.py create_operator NAME …"
        )
    return owner


def expiry(text: str | None) -> datetime | None:
    """The moment that `text` means; raises `CommandError`."""
    if text is None:
        return None
    if span := SPAN.fullmatch(text):
        return timezone.now() + timedelta(**{UNITS[span[2]]: int(span[1])})
    try:
        moment = parse_datetime(text)
    except ValueError:
        moment = None
    if moment is None:
        raise CommandError("Write the expiry as 30m, 12h, 90d or 2027-01-31T12:00:00Z.")
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment)
