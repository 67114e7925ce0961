"""Every route of every listener, found by walking the urlconfs, with good values for its parameters."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module

from django.urls import URLPattern, URLResolver

from secai_site.listeners import LISTENERS

UUID = "00000000-0000-4000-8000-000000000000"
VALUES = {"uuid": UUID, "str": "name", "path": "some/path", "int": "1", "slug": "name"}
PARAMETER = re.compile(r"<(?:(\w+):)?\w+>")


@dataclass(frozen=True, order=True)
class Route:
    """One address of one listener."""

    listener: str
    path: str

    def __str__(self) -> str:
        return f"{self.listener}:{self.path}"


def _walk(patterns: list[URLPattern | URLResolver], before: str) -> Iterator[str]:
    for pattern in patterns:
        here = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _walk(pattern.url_patterns, here)
        else:
            yield here


def routes() -> list[Route]:
    """All of them but the admin's, which are Django's own and are asked for as a whole."""
    found = set()
    for name, listener in LISTENERS.items():
        for template in _walk(import_module(listener.urlconf).urlpatterns, ""):
            if template.startswith("admin/"):
                continue
            assert not template.startswith("^"), f"{template}: write routes with path()"
            found.add(Route(name, "/" + PARAMETER.sub(lambda m: VALUES[m[1] or "str"], template)))
    return sorted(found)


ADMIN = (
    "/admin/",
    "/admin/jobs/job/",
    "/admin/accounts/user/add/",
    "/admin/audit/auditevent/",
    "/admin/nothing/",
)
EVERY = [*routes(), *(Route("ui", path) for path in ADMIN)]
# Open to everyone: what a signed-out person needs, and says nothing about the box.
OPEN = {
    Route("ui", "/sign-in"), Route("ui", "/setup"), Route("ui", "/texts.json"),
    *(Route(name, "/health") for name in LISTENERS),
}  # fmt: skip
