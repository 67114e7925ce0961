"""The rail: which sections there are, which of them this version has, and who sees them."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from secai_site.kernel.auth.models import User


@dataclass(frozen=True, slots=True)
class Section:
    """One entry of the rail. `built` is False until the section's pages exist."""

    name: str
    href: str
    label: str | Promise
    icon: str
    built: bool = True
    operators_only: bool = False


RAIL: tuple[Section, ...] = (
    Section("chat", "/", _("Chat"), "message-square-text"),
    Section("documents", "/documents", _("Documents"), "file-text", built=False),
    Section("images", "/images", _("Images"), "image", built=False),
    Section("agent", "/agent", _("Agent"), "bot", built=False),
    Section("models", "/models", _("Models"), "box"),
    Section("doors", "/doors", _("Doors"), "door-closed", built=False),
    Section("security", "/security", _("Security"), "shield"),
    Section("settings", "/settings", _("Settings"), "settings"),
    Section("admin", "/admin/", _("Admin"), "user-cog", operators_only=True),
)


def sections_for(user: User) -> list[Section]:
    """The sections that exist and that this person may open."""
    return [s for s in RAIL if s.built and (user.is_operator or not s.operators_only)]


def page(
    request: HttpRequest, template: str, *, section: str, status: int = 200, **context: Any
) -> HttpResponse:
    """Render a page inside the shell, with `section` marked in the rail."""
    user = request.user
    assert isinstance(user, User)
    shell = {
        "sections": sections_for(user),
        "section": section,
        "scopes": " ".join(sorted(user.scopes)),
    }
    return render(request, f"ui/{template}", shell | context, status=status)
