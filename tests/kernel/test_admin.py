"""The operators' admin: what it shows, what it refuses, what it writes down."""

from typing import Any

import pytest
from django.db import OperationalError

from secai_site.kernel.audit.models import AuditEvent
from secai_site.kernel.auth import people
from secai_site.kernel.auth.models import User
from secai_site.kernel.auth.scopes import Role
from tests.support.cast import Cast
from tests.support.client import ListenerClient, browser

pytestmark = pytest.mark.django_db(transaction=True)

PAGES = (
    "", "accounts/user/", "accounts/session/", "accounts/apikey/", "audit/auditevent/", "jobs/job/",
    "registry/artifact/", "registry/quarantineitem/", "ui/conversation/",
)  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
def test_every_list_opens_for_operators_and_no_one_else(cast: Cast, page: str) -> None:
    assert browser(cast.operator).get(f"/admin/{page}").status_code == 200
    assert browser(cast.member).get(f"/admin/{page}").status_code in (302, 403)


def test_the_session_list_shows_no_session_key(cast: Cast) -> None:
    client = browser(cast.operator)
    text = client.get("/admin/accounts/session/").content.decode()
    assert "olga" in text
    key = client.session.session_key
    assert key
    assert key not in text


def person_form(user: User, **changes: Any) -> dict[str, Any]:
    """The fields of the admin's form for a person."""
    return {"username": user.username, "role": user.role, "is_active": "on", **changes}


def test_the_last_operator_stays_one(cast: Cast) -> None:
    assert people.is_last_operator(cast.operator)
    url = f"/admin/accounts/user/{cast.operator.pk}/change/"
    shown = browser(cast.operator).post(url, person_form(cast.operator, role=Role.MEMBER.value))
    assert "last operator" in shown.content.decode()
    cast.operator.refresh_from_db()
    assert cast.operator.role == Role.OPERATOR


def test_a_changed_role_is_written_down(cast: Cast) -> None:
    url = f"/admin/accounts/user/{cast.member.pk}/change/"
    done = browser(cast.operator).post(url, person_form(cast.member, role=Role.OPERATOR.value))
    assert done.status_code == 302
    cast.member.refresh_from_db()
    assert cast.member.is_operator
    event = AuditEvent.objects.filter(action="auth.person:changed").get()
    assert (event.actor, event.detail["role"]) == (f"user:{cast.operator.pk}", "operator")


def test_setting_somebodys_password_is_written_down(cast: Cast) -> None:
    url = f"/admin/accounts/user/{cast.member.pk}/password/"
    form = {
        "password1": "another-long-password",
        "password2": "another-long-password",
        "usable_password": "true",
    }
    assert browser(cast.operator).post(url, form).status_code == 302
    cast.member.refresh_from_db()
    assert cast.member.check_password("another-long-password")
    assert AuditEvent.objects.filter(
        action="auth.person:password_changed", target=f"user:{cast.member.pk}"
    ).exists()


def test_a_page_says_so_when_the_database_is_locked(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(*_args: object, **_kwargs: object) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr("ui.pages.views.setup_code_is_good", locked)
    client = ListenerClient()

    assert client.get("/setup?code=x", HTTP_ACCEPT="text/html").status_code == 503


def test_looking_at_the_setup_page_is_not_counted(cast: Cast) -> None:
    client = ListenerClient()
    assert {client.get("/setup?code=wrong").status_code for _ in range(30)} == {403}
