"""Who is calling, for DRF views and websockets alike: one reading of the credentials for both."""

import re
from typing import Any

from django.contrib.auth import get_user
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, CSRFCheck
from rest_framework.request import Request

from secai_site.kernel.auth import keys, principal, tokens
from secai_site.kernel.auth.models import User
from secai_site.kernel.auth.principal import Principal
from secai_site.kernel.errors import NotAllowed, NotSignedIn

ON_BEHALF_OF = "Secai-On-Behalf-Of"
PERSON = re.compile(r"[0-9]{1,18}")


def principal_of_header(authorization: str, on_behalf_of: str | None) -> Principal:
    """The caller that an `Authorization` header names; raises `NotSignedIn` when it is not good.

    Only a service may act for a person.
    """
    scheme, _, credential = authorization.partition(" ")
    if scheme.lower() != "bearer" or not credential.strip():
        raise NotSignedIn("Send your key as: Authorization: Bearer secai_…", code="auth.scheme")
    credential = credential.strip()
    if credential.startswith("secai-service_"):
        caller = tokens.caller_of(credential)
        return principal.of_service(caller, _person(on_behalf_of))
    return principal.of_key(keys.find_key(credential))


def _person(on_behalf_of: str | None) -> User | None:
    if on_behalf_of is None:
        return None
    user = (
        User.objects.filter(pk=int(on_behalf_of), is_active=True).first()
        if PERSON.fullmatch(on_behalf_of)
        else None
    )
    if user is None:
        raise NotSignedIn("The person that this service acts for is not active.", code="auth.on_behalf_of")
    return user


def principal_of_session(request: HttpRequest) -> Principal | None:
    """The person whose session cookie came with the request, or None."""
    user = get_user(request)
    if isinstance(user, AnonymousUser) or not user.is_active:
        return None
    assert isinstance(user, User)
    return principal.of_session(user, request.session.session_key or "")


class PrincipalAuthentication(BaseAuthentication):
    """A key or service token in the `Authorization` header, else the session cookie with a CSRF token."""

    def authenticate(self, request: Request) -> tuple[User | AnonymousUser, Principal] | None:
        header = request.headers.get("Authorization")
        if header is not None:
            caller = principal_of_header(header, request.headers.get(ON_BEHALF_OF))
            return caller.user or AnonymousUser(), caller
        caller_or_none = principal_of_session(request._request)
        if caller_or_none is None or caller_or_none.user is None:
            return None
        self._require_csrf_token(request)
        return caller_or_none.user, caller_or_none

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="secai"'

    def _require_csrf_token(self, request: Request) -> None:
        check = CSRFCheck(lambda _request: None)  # type: ignore[arg-type]
        check.process_request(request._request)
        reason: Any = check.process_view(request._request, _never, (), {})
        if reason:
            raise NotAllowed(
                "The page is out of date: reload it and try again (its CSRF token was not accepted).",
                code="auth.csrf",
            )


def _never(*_args: Any, **_kwargs: Any) -> HttpResponse:
    """The view that Django's CSRF check wants to see and never calls."""
    raise AssertionError("not a view")


class PrincipalScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the OpenAPI document describes the credentials."""

    target_class = "secai_site.kernel.auth.authentication.PrincipalAuthentication"
    name = ["apiKey", "session"]

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, str]]:
        return [
            {"type": "http", "scheme": "bearer", "bearerFormat": "secai_…"},
            {"type": "apiKey", "in": "cookie", "name": "secai_session"},
        ]
