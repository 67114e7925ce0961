"""Clients that come in by a listener's door, as programs with a key or people with a session."""

import json
from typing import Any

import httpx
from django.conf import settings
from django.middleware.csrf import _get_new_csrf_string
from django.test import Client

from secai_site.asgi import application_for
from secai_site.kernel.auth.models import User
from secai_site.kernel.auth.tokens import token_of
from secai_site.kernel.http.middleware import LISTENER_KEY
from secai_site.listeners import LISTENERS

JSON = "application/json"


class ListenerClient(Client):
    """A synchronous client of one listener; nothing is exempt from CSRF, a fault is a 500 and not a traceback."""

    def __init__(self, listener: str = "ui", *, key: str | None = None, **headers: str) -> None:
        super().__init__(enforce_csrf_checks=True, raise_request_exception=False)
        self.defaults[LISTENER_KEY] = listener
        self.defaults["HTTP_HOST"] = f"localhost:{LISTENERS[listener].port}"
        self.listener = listener
        if key is not None:
            self.defaults["HTTP_AUTHORIZATION"] = f"Bearer {key}"
        self.defaults.update(headers)

    def send(self, method: str, path: str, body: Any = None, **extra: Any) -> Any:
        """A request with a JSON body, or with the given bytes as they are; none for None."""
        raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.generic(method, path, raw, content_type=extra.pop("content_type", JSON), **extra)


def program(key: str, listener: str = "ui") -> ListenerClient:
    """A program that shows an API key."""
    return ListenerClient(listener, key=key)


def service(caller: str, listener: str, *, on_behalf_of: User | None = None) -> ListenerClient:
    """A service of this box."""
    extra = {} if on_behalf_of is None else {"HTTP_SECAI_ON_BEHALF_OF": str(on_behalf_of.pk)}
    return ListenerClient(listener, key=token_of(caller), **extra)


def browser(user: User, listener: str = "ui", *, csrf: bool = True) -> ListenerClient:
    """A person's browser: a session, and a CSRF token unless told otherwise."""
    client = ListenerClient(listener, HTTP_USER_AGENT="Browser of a test")
    client.force_login(user)
    if csrf:
        secret = _get_new_csrf_string()
        client.cookies[settings.CSRF_COOKIE_NAME] = secret
        client.defaults["HTTP_X_CSRFTOKEN"] = secret
    return client


def caller(key: str, listener: str = "ui") -> httpx.AsyncClient:
    """A program that calls the listener's ASGI application, for answers that are streamed."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(application_for(listener), raise_app_exceptions=False),
        base_url=f"http://localhost:{LISTENERS[listener].port}",
        headers={"Authorization": f"Bearer {key}"},
        timeout=30,
    )


def events_of(text: str) -> list[tuple[str, dict[str, Any]]]:
    """The server-sent events of a streamed answer: (name, data)."""
    found = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((fields.get("event", "message"), json.loads(fields["data"])))
    return found
