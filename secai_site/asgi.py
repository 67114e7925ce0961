"""One ASGI application per listener: the same Django behind each, with the listener's name in the scope."""

import os
from functools import cache
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "secai_site.settings")

from channels.routing import URLRouter
from django.core.asgi import get_asgi_application

from secai_site.kernel.http.middleware import LISTENER_KEY
from secai_site.kernel.http.websocket import WebsocketGate, refuse


@cache
def django_application() -> Any:
    """Django itself; made once, so that forked listeners share it."""
    return get_asgi_application()


@cache
def websocket_application() -> Any:
    """The websockets of the ui listener, behind their gate."""
    from ui.routing import websocket_urlpatterns

    return WebsocketGate(URLRouter(websocket_urlpatterns))


def application_for(listener: str) -> Any:
    """The ASGI application of one listener."""

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        scope[LISTENER_KEY] = listener
        match scope["type"]:
            case "http":
                await django_application()(scope, receive, send)
            case "websocket" if listener == "ui":
                await _websocket(scope, receive, send)
            case "websocket":
                await _no_such_socket(receive, send)

    return application


async def _websocket(scope: dict[str, Any], receive: Any, send: Any) -> None:
    try:
        await websocket_application()(scope, receive, send)
    except ValueError as error:
        if "No route found" not in str(error):
            raise
        await _no_such_socket(receive, send)


async def _no_such_socket(receive: Any, send: Any) -> None:
    from secai_site.kernel.errors import NotFound

    await refuse(receive, send, NotFound("There is no websocket at this address."))
