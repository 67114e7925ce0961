"""Routes of port 8480 whose work later versions bring: guarded and validated, and honest about it."""

from django.urls import URLPattern, path

from secai_site.kernel.auth.scopes import Scope
from secai_site.kernel.http.serializers import Flag, NoFields, StrictSerializer, Text, Whole
from secai_site.kernel.http.views import NotBuiltView


class PassphraseRequest(StrictSerializer):
    """POST /api/vault/unlock"""

    passphrase = Text(max_length=1024, trim_whitespace=False)


class PanicRequest(StrictSerializer):
    """POST /api/emergency/panic"""

    level = Whole(min_value=1, max_value=3, required=False, default=1)
    passphrase = Text(max_length=1024, required=False, trim_whitespace=False)
    drill = Flag(required=False)


class Vault(NotBuiltView):
    """The vault."""

    part = "The vault"
    read_scope = Scope.READ
    write_scope = Scope.VAULT
    forms = {"POST": NoFields}


class VaultUnlock(Vault):
    forms = {"POST": PassphraseRequest}


class Diffusion(NotBuiltView):
    """The runtime for pictures."""

    part = "The runtime for pictures"
    write_scope = Scope.ADMIN
    forms = {"POST": NoFields}


class Updates(NotBuiltView):
    """Updates of the box."""

    part = "Updating"
    write_scope = Scope.ADMIN
    forms = {"POST": NoFields}


class Panic(NotBuiltView):
    """The emergency switch."""

    part = "The emergency switch"
    write_scope = Scope.VAULT
    forms = {"POST": PanicRequest}


def only(view: type[NotBuiltView], method: str) -> object:
    """The view for one method."""
    names = ["get", "head", "options"] if method == "get" else ["post", "options"]
    return view.as_view(http_method_names=names)


ROUTES = (
    ("api/diffusion/runtime/status", Diffusion, "get"),
    ("api/diffusion/runtime/enable", Diffusion, "post"),
    ("api/diffusion/runtime/progress", Diffusion, "get"),
    ("api/vault/status", Vault, "get"),
    ("api/vault/lock", Vault, "post"),
    ("api/vault/unlock", VaultUnlock, "post"),
    ("api/vault/keepalive", Vault, "post"),
    ("api/emergency/panic", Panic, "post"),
    ("api/emergency/status", Panic, "get"),
    ("api/updates/check", Updates, "get"),
    ("api/updates/stage", Updates, "post"),
    ("api/updates/apply", Updates, "post"),
    ("api/updates/rollback", Updates, "post"),
)

urlpatterns: list[URLPattern] = [path(route, only(view, method)) for route, view, method in ROUTES]  # type: ignore[call-overload]
