"""Who may upload a model: asked before the first byte of the body is kept."""

from secai_site.kernel.auth.principal import Principal
from secai_site.kernel.auth.scopes import Scope
from secai_site.kernel.errors import NotAllowed
from secai_site.kernel.http.websocket import check_origin, principal_of_headers
from secai_site.kernel.limits.rates import count


def admit_upload(headers: dict[str, str]) -> Principal:
    """The caller of an upload; raises the `ServiceError` that refuses it.

    The view checks again, with the CSRF token, before it uses what arrived.
    """
    check_origin(headers, secure=False)
    caller = principal_of_headers(headers)
    if not caller.may(Scope.MODELS):
        raise NotAllowed(
            "Importing models needs the permission “models”.", code="auth.scope", needed="models"
        )
    count(None, rate="upload", key=caller.rate_key)
    return caller
