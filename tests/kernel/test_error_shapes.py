"""Whatever goes wrong, the answer is a sentence, a code and the right status."""

import errno
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import OperationalError
from django.http import Http404
from rest_framework import exceptions

from secai_site.kernel.errors import Conflict, ServiceError
from secai_site.kernel.http.errors import as_service_error, render
from secai_site.kernel.http.serializers import first_error
from tests.support.client import ListenerClient
from ui.system import api as system

CASES: list[tuple[Exception, int, str]] = [
    (Conflict("No."), 409, "request.conflict"),
    (Http404(), 404, "request.not_found"),
    (PermissionDenied(), 403, "auth.forbidden"),
    (RequestDataTooBig(), 413, "request.too_large"),
    (SuspiciousOperation("a secret"), 400, "request.refused"),
    (exceptions.NotAuthenticated(), 401, "auth.required"),
    (exceptions.MethodNotAllowed("PUT"), 405, "request.method"),
    (exceptions.UnsupportedMediaType("x/y"), 415, "request.media_type"),
    (exceptions.ValidationError({"a": ["Bad."]}), 400, "request.invalid"),
    (OSError(errno.ENOSPC, "No space left"), 507, "storage.full"),
    (OSError(errno.EDQUOT, "Quota"), 507, "storage.full"),
    (OperationalError("database or disk is full"), 507, "storage.full"),
    (OperationalError("database is locked"), 503, "database.unavailable"),
]


@pytest.mark.parametrize(("error", "status", "code"), CASES, ids=lambda value: str(value)[:30])
def test_each_error_has_its_status_and_code(error: Exception, status: int, code: str) -> None:
    answer = render(error, {})
    assert (answer.status_code, answer.data["code"]) == (status, code)
    assert "a secret" not in answer.data["error"]
    assert answer.data["error"]


def test_an_unknown_fault_is_500_and_says_nothing_of_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    answer = render(RuntimeError("the password is x"), {})
    assert (answer.status_code, answer.data["code"]) == (500, "internal")
    assert "password" not in str(answer.data)
    assert "the password is x" in caplog.text
    assert as_service_error(RuntimeError()) is None


def test_further_members_and_retry_after_are_passed_on() -> None:
    answer = render(ServiceError("Wait.", status=429, code="rate.limited", retry_after=7, left=0), {})
    assert answer.headers["Retry-After"] == "7"
    assert answer.data == {"error": "Wait.", "code": "rate.limited", "left": 0}


def test_401_says_how_to_sign_in() -> None:
    assert render(exceptions.NotAuthenticated(), {}).headers["WWW-Authenticate"] == 'Bearer realm="secai"'


@pytest.mark.parametrize(
    ("raised", "status", "code"),
    [
        (OperationalError("database is locked"), 503, "database.unavailable"),
        (OperationalError("database or disk is full"), 507, "storage.full"),
        (OSError(errno.ENOSPC, "No space left on device"), 507, "storage.full"),
        (KeyError("oops"), 500, "internal"),
    ],
)
def test_a_route_answers_so_too(
    raised: Exception, status: int, code: str, admin_program: ListenerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise raised

    monkeypatch.setattr(system, "detect_gpu", fail)
    answer = admin_program.send("POST", "/api/vm/gpu", {})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert "oops" not in answer.content.decode()


@pytest.mark.django_db
def test_programs_get_json_and_people_get_a_page() -> None:
    client = ListenerClient()
    assert client.get("/api/nothing").json()["code"] == "request.not_found"
    page = client.get("/nothing", headers={"Accept": "text/html"})
    assert page.status_code == 404
    assert page["Content-Type"].startswith("text/html")


@pytest.mark.parametrize(
    ("detail", "sentence"),
    [
        ({"a": ["Bad."]}, "a: Bad."),
        ({"a": {"b": ["Bad."]}}, "a.b: Bad."),
        ({"a": [{}, {"b": ["Bad."]}]}, "a.b: Bad."),
        ({"non_field_errors": ["Bad."]}, "Bad."),
        ({"a": {"0": ["Bad."]}}, "a.0: Bad."),
        (["Bad."], "Bad."),
        ([], "It is not valid."),
    ],
)
def test_the_first_error_becomes_a_sentence(detail: Any, sentence: str) -> None:
    assert first_error(detail) == sentence
