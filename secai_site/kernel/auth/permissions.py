"""Permission by scope: a view names the scope that reading and the scope that changing it needs."""

from typing import Any

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from secai_site.kernel.auth.principal import Principal
from secai_site.kernel.auth.scopes import Scope
from secai_site.kernel.errors import NotAllowed


def principal_of(request: Request) -> Principal:
    """The authenticated caller of a request that passed `HasScope`."""
    assert isinstance(request.auth, Principal)
    return request.auth


class HasScope(BasePermission):
    """Lets in who holds the scope that the view names; a view that names none needs `admin`."""

    def has_permission(self, request: Request, view: Any) -> bool:
        caller = request.auth
        if not isinstance(caller, Principal):
            return False
        name = "read_scope" if request.method in SAFE_METHODS else "write_scope"
        needed: Scope = getattr(view, name, None) or Scope.ADMIN
        if not caller.may(needed):
            raise NotAllowed(
                f"This needs the permission “{needed}”, which {_whose(caller)} does not have.",
                code="auth.scope",
                needed=needed.value,
            )
        return True


def _whose(caller: Principal) -> str:
    return {"key": "this API key", "service": "this service"}.get(caller.kind, "your account")
