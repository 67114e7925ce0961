"""What holds for every websocket: our Host, our Origin, and a caller, before the connection is accepted."""

import json
from collections.abc import Awaitable, Callable
from http.cookies import CookieError, SimpleCookie
from typing import Any

from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.http.request import validate_host
from django.utils.crypto import constant_time_compare

from secai_site.kernel.auth.authentication import ON_BEHALF_OF, principal_of_header
from secai_site.kernel.auth.models import User
from secai_site.kernel.auth.principal import Principal, of_session
from secai_site.kernel.auth.sessions import SessionStore
from secai_site.kernel.errors import InvalidRequest, NotAllowed, NotSignedIn, ServiceError
from secai_site.kernel.http.middleware import origin_is_ours

PRINCIPAL_KEY = "secai.principal"
App = Callable[
    [dict[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]
]


class WebsocketGate:
    """ASGI middleware: refuses the handshake with a status and a reason, else names the caller in the scope."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers = {name.decode("latin1").lower(): value.decode("latin1") for name, value in scope["headers"]}
        try:
            check_origin(headers, secure=scope.get("scheme") == "wss")
            scope[PRINCIPAL_KEY] = await database_sync_to_async(principal_of_headers)(headers)
        except ServiceError as error:
            await refuse(receive, send, error)
            return
        await self.app(scope, receive, send)


def check_origin(headers: dict[str, str], *, secure: bool) -> None:
    """Raise `InvalidRequest` for a foreign Host, `NotAllowed` for a page of another origin.

    Programs send no Origin.
    """
    host = headers.get("host", "")
    bare = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    if not validate_host(bare, settings.ALLOWED_HOSTS):
        raise InvalidRequest("This Host is not one of this box.", code="request.host")
    if headers.get("sec-fetch-site") == "cross-site":
        raise NotAllowed(
            "This request comes from a page of another site and was refused.", code="auth.origin"
        )
    origin = headers.get("origin")
    scheme = "https" if secure or settings.BEHIND_TLS else "http"
    if origin is not None and not origin_is_ours(origin, scheme=scheme, host=host):
        raise NotAllowed("This connection comes from a page of another site.", code="auth.origin")
    if origin is None and "cookie" in headers and "authorization" not in headers:
        raise NotAllowed("A browser's connection must name its Origin.", code="auth.origin")


def principal_of_headers(headers: dict[str, str]) -> Principal:
    """The caller, by `Authorization` header or session cookie; raises `NotSignedIn`."""
    if "authorization" in headers:
        return principal_of_header(headers["authorization"], headers.get(ON_BEHALF_OF.lower()))
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(settings.SESSION_COOKIE_NAME)
    except CookieError:
        cookie = None
    user = session_user(cookie.value) if cookie else None
    if user is None or cookie is None:
        raise NotSignedIn("Sign in first.")
    return of_session(user, cookie.value)


def session_user(session_key: str) -> User | None:
    """The active person whose session this is, or None (also after a changed password)."""
    store = SessionStore(session_key)
    user_id = store.get(SESSION_KEY)
    user = User.objects.filter(pk=user_id, is_active=True).first() if user_id else None
    if user is None or not constant_time_compare(
        store.get(HASH_SESSION_KEY, ""), user.get_session_auth_hash()
    ):
        return None
    return user


async def refuse(receive: Any, send: Any, error: ServiceError) -> None:
    """Refuse the handshake (HTTP 403); a caller that is only signed out is told so by close code 4401.

    A browser shows its page nothing of a refused handshake, so that page could not tell it from a lost network.
    """
    await receive()
    if error.http_status == 401:
        await send({"type": "websocket.accept"})
    await send(
        {
            "type": "websocket.close",
            "code": 4000 + error.http_status,
            "reason": json.dumps(error.body())[:120],
        }
    )
