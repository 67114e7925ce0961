"""One's own API keys and sessions."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from secai_site.kernel.auth import keys, people
from secai_site.kernel.auth.models import ApiKey, Session, User
from secai_site.kernel.auth.scopes import Scope
from secai_site.kernel.errors import NotAllowed
from secai_site.kernel.http.serializers import StrictSerializer, Text, Whole
from secai_site.kernel.http.views import ServiceView
from ui.chat.selectors import moment


class AccountView(ServiceView):
    """A person about themselves, in a browser: a key must not make further keys."""

    read_scope = Scope.READ
    write_scope = Scope.READ

    @property
    def person(self) -> User:
        """The signed-in person; raises `NotAllowed` for programs."""
        if self.caller.kind != "session" or self.caller.user is None:
            raise NotAllowed(
                "Sign in with a browser to manage keys and sessions.", code="auth.session_needed"
            )
        return self.caller.user


class KeyRequest(StrictSerializer):
    """POST /api/keys"""

    name = Text(max_length=100)
    scopes = serializers.ListField(child=Text(max_length=20))
    expires_in_days = Whole(min_value=1, max_value=3650, required=False, allow_null=True)


class KeyList(AccountView):
    forms = {"POST": KeyRequest}
    answers_list = True

    def get(self, request: Request) -> Response:
        """One's keys, without their secrets."""
        return Response([key_json(key) for key in self.person.api_keys.all()])

    def post(self, request: Request) -> Response:
        """Make a key; it is shown this once."""
        body = self.body()
        days = body.get("expires_in_days")
        key, shown = keys.create_key(
            owner=self.person, name=body["name"], scopes=body["scopes"],
            expires_at=timezone.now() + timedelta(days=days) if days else None, actor=self.caller.name,
        )  # fmt: skip
        return Response({**key_json(key), "key": shown}, status=201)


class KeyDetail(AccountView):
    def delete(self, request: Request, key_id: UUID) -> Response:
        """Revoke a key."""
        key = keys.own_key(owner=self.person, public_id=str(key_id))
        return Response(key_json(keys.revoke_key(key=key, actor=self.caller.name)))


def key_json(key: ApiKey) -> dict[str, Any]:
    """The public form of a key."""
    times = {name: getattr(key, name) for name in ("created_at", "expires_at", "last_used_at", "revoked_at")}
    return {
        "id": str(key.public_id), "name": key.name, "prefix": f"secai_{key.prefix}", "scopes": key.scopes,
        **{name: moment(value) if value else None for name, value in times.items()},
    }  # fmt: skip


class SessionList(AccountView):
    answers_list = True

    def get(self, request: Request) -> Response:
        """Where one is signed in."""
        rows = Session.objects.filter(user=self.person, expire_date__gt=timezone.now()).order_by(
            "-created_at"
        )
        return Response([session_json(row, self.caller.credential) for row in rows])


class SessionDetail(AccountView):
    def delete(self, request: Request, session_id: UUID) -> Response:
        """Sign a browser out."""
        session = people.own_session(user=self.person, public_id=str(session_id))
        people.end_session(session=session, actor=self.caller.name)
        return Response({"id": str(session_id), "status": "ended"})


def session_json(row: Session, current: str) -> dict[str, Any]:
    """The public form of a session; its key stays secret."""
    return {
        "id": str(row.public_id), "agent": row.agent, "created_at": moment(row.created_at),
        "current": row.session_key == current,
    }  # fmt: skip
