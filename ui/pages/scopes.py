"""What each scope lets a program do, in a person's words."""

from collections.abc import Collection

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from secai_site.kernel.auth.scopes import Scope

MEANING: dict[Scope, Promise | str] = {
    Scope.READ: _("See status, models and lists"),
    Scope.CHAT: _("Chat and generate text, as you"),
    Scope.MODELS: _("Import, load and remove models"),
    Scope.TOOLS: _("Ask the tool firewall"),
    Scope.EGRESS: _("Send requests out through the airlock"),
    Scope.AGENT: _("Start agent tasks"),
    Scope.VAULT: _("Lock and unlock the vault"),
    Scope.ADMIN: _("Everything, as an operator"),
}


def described(scopes: Collection[Scope]) -> list[tuple[str, str]]:
    """The given scopes in their order, each with its meaning."""
    return [(scope.value, str(MEANING.get(scope, scope.value))) for scope in Scope if scope in scopes]
