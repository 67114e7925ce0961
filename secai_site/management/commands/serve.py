"""manage.py serve: the whole box in one command."""

import sys
from importlib import import_module
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from secai_site import processes
from secai_site.asgi import django_application, websocket_application
from secai_site.kernel.auth.people import box_is_claimed, new_setup_code
from secai_site.listeners import LISTENERS
from secai_site.locks import hold
from secai_site.supervisor import Supervisor


class Command(BaseCommand):
    help = "Run all services, restart what dies, stop all with one Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--only", default="", help="comma-separated names of the processes to run")
        parser.add_argument(
            "--single", action="store_true", help="all listeners in one process (small machines)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        only = [name for name in options["only"].split(",") if name]
        try:
            targets = processes.targets(only, single=options["single"])
        except LookupError as error:
            raise CommandError(f"There is no process named {error}.") from error
        hold("serve")
        call_command("prepare")
        self._require_free_ports(only)
        preload()
        link = setup_link()
        Supervisor(targets, sys.stdout).run(lambda seconds: self._tell_ready(seconds, link))

    def _require_free_ports(self, only: list[str]) -> None:
        from secai_site.ports import port_is_free

        for listener in LISTENERS.values():
            port = listener.port + settings.PORT_OFFSET
            if (not only or listener.name in only) and not port_is_free(port):
                raise CommandError(
                    f"Port {port} ({listener.name}) is in use. Is this box running already? Otherwise set "
                    "SECAI_PORT_OFFSET, for example to 10000."
                )

    def _tell_ready(self, seconds: float, link: str | None) -> None:
        self.stdout.write(f"\nready in {seconds:.1f} s: {base_url()}")
        if link:
            self.stdout.write(f"Claim this box (works once, for 24 hours): {link}")
        self.stdout.write("Ctrl-C stops everything.\n")
        self.stdout.flush()


def preload() -> None:
    """Import before the forks what every process needs, so that they share it (and fail here, if at all)."""
    django_application()
    websocket_application()
    for listener in LISTENERS.values():
        import_module(listener.urlconf)


def base_url() -> str:
    """Where people reach the pages."""
    return settings.PUBLIC_URL or f"http://localhost:{LISTENERS['ui'].port + settings.PORT_OFFSET}"


def setup_link() -> str | None:
    """A fresh one-time link to claim the box, or None when it has an operator."""
    return None if box_is_claimed() else f"{base_url()}/setup?code={new_setup_code()}"
