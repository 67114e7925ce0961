"""What holds for every route of every listener, also those that nobody has written yet."""

import json
from typing import Any

import pytest

from secai_site.listeners import LISTENERS
from tests.house.routes import EVERY, OPEN, UUID, Route
from tests.support.builders import promoted
from tests.support.cast import Cast, key_of
from tests.support.client import ListenerClient, browser, program

UNSAFE = ("POST", "PUT", "PATCH", "DELETE")
METHODS = ("GET", "HEAD", "OPTIONS", *UNSAFE, "TRACE", "CONNECT", "PROPFIND", "get", "X" * 50)
pytestmark = pytest.mark.django_db
each = pytest.mark.parametrize("listener", LISTENERS)


def of(listener: str, *, closed: bool = False) -> list[Route]:
    """The routes of one listener; `closed` leaves out those that are open to everyone."""
    return [route for route in EVERY if route.listener == listener and not (closed and route in OPEN)]


def is_api(route: Route) -> bool:
    """Whether programs use it."""
    return route.path.startswith(("/api/", "/v1/", "/search", "/health"))


def test_the_walk_finds_the_routes() -> None:
    paths = {str(route) for route in EVERY}
    assert {
        "ui:/api/chat",
        "registry:/v1/promote",
        "airlock:/v1/proxy",
        "agent:/v1/task/name/approve",
    } <= paths
    assert len(EVERY) > 80


@each
def test_nobody_gets_in_without_credentials(listener: str) -> None:
    client = ListenerClient(listener)
    for route in of(listener, closed=True):
        for method in ("GET", *UNSAFE):
            answer = client.send(method, route.path, None if method == "GET" else {})
            if is_api(route):
                assert (answer.status_code, answer.json()["code"]) == (401, "auth.required"), (route, method)
                assert isinstance(answer.json()["error"], str)
            else:
                leads_away = answer.status_code == 302 and answer["Location"].startswith(
                    ("/sign-in", "/admin/login")
                )
                assert leads_away or answer.status_code in (403, 404, 405), (
                    route,
                    method,
                    answer.status_code,
                )


@each
def test_a_bad_key_does_not_get_in_either(listener: str) -> None:
    client = program("secai_abcdefgh_" + "x" * 43, listener)
    for route in of(listener, closed=True):
        answer = client.get(route.path)
        assert answer.status_code in ((401,) if is_api(route) else (302, 404, 405)), route


@each
def test_a_foreign_origin_changes_nothing(listener: str, cast: Cast) -> None:
    client = browser(cast.operator, listener)
    for route in of(listener):
        for method in UNSAFE:
            for header in (
                {"Origin": "http://evil.example"},
                {"Origin": "null"},
                {"Sec-Fetch-Site": "cross-site"},
            ):
                answer = client.send(method, route.path, {}, headers=header)
                assert answer.status_code == 403, (route, method, header)


@each
def test_a_foreign_host_is_a_400(listener: str) -> None:
    for route in of(listener):
        for method in ("GET", "POST"):
            answer = ListenerClient(listener).send(method, route.path, HTTP_HOST="evil.example")
            assert answer.status_code == 400, route


@each
def test_a_session_changes_nothing_without_its_csrf_token(listener: str, cast: Cast) -> None:
    client = browser(cast.operator, listener, csrf=False)
    for route in of(listener):
        for method in UNSAFE:
            assert client.send(method, route.path, {}).status_code in (403, 405), (route, method)


BODIES: list[bytes] = [
    b"", b"{}", b"[]", b"null", b"1", b'"x"', b"{", b"\xff\xfe", b"[" * 50, b'{"a": NaN}', b'{"a": 1e999}',
    b'{"": ""}',
    b'{"name": {"$gt": ""}, "path": [], "sha256": 1, "text": null}',
    b'{"message": {"a": [[[]]]}, "messages": {"0": 1}}',
    b'{"prompt": 1, "model": [], "stop": {}, "tool": null, "arguments": [], "url": 5, "intent": false}',
    json.dumps(dict.fromkeys("abcdefgh", "x" * 1000)).encode(),
    b'{"level": 99999999999999999999999999999999, "max_tokens": -1e300, "seed": 1.5, "limit": "x"}',
]  # fmt: skip
KINDS = (
    "application/json",
    "application/json; charset=utf-16",
    "multipart/form-data; boundary=x",
    "text/plain",
    "",
    "a/b/c;;=",
)


@each
def test_no_method_and_no_body_is_a_500(listener: str, cast: Cast, peers: Any, settings: Any) -> None:
    settings.RATES = dict.fromkeys(settings.RATES, "100000/m")
    promoted("other")
    client = program(key_of(cast.operator, "admin"), listener)
    for route in of(listener):
        for method in METHODS:
            answer = client.send(method, route.path)
            assert answer.status_code < 500 or is_not_built(answer), (route, method)
        for body in BODIES:
            answer = client.send("POST", route.path, body)
            assert answer.status_code < 500 or is_not_built(answer), (route, body)
        for kind in KINDS:
            answer = client.send("POST", route.path, b'{"a": 1}', content_type=kind)
            assert answer.status_code < 500 or is_not_built(answer), (route, kind)


def is_not_built(answer: Any) -> bool:
    """The one way in which a route may fail: it says that it does not exist yet (a HEAD says it without a body)."""
    return answer.status_code == 501 and (b"service.not_built" in answer.content or not answer.content)


ACCEPTS = ("text/html", "text/html;version=2", "application/xml", "text/event-stream", "/;q=", "a" * 5000)
QUERIES = (
    "?format=xml",
    "?limit=1e9&before=x&q=%00&as=x",
    "?name=%ff&name=%00&force=true",
    "?" + "a=b&" * 300,
    "?%",
)


@each
def test_no_header_and_no_query_is_a_500(listener: str, cast: Cast, peers: Any) -> None:
    for client in (browser(cast.operator, listener), ListenerClient(listener)):
        for route in of(listener):
            for accept in ACCEPTS:
                answer = client.get(route.path, headers={"Accept": accept})
                assert answer.status_code < 500 or is_not_built(answer), (route, accept)
            for query in QUERIES:
                answer = client.get(route.path + query)
                assert answer.status_code < 500 or is_not_built(answer), (route, query)


PIECES = (
    "%2e%2e",
    "..%2f..%2fetc",
    "%00",
    "%ff%fe",
    "a" * 3000,
    "'; --",
    "{{7*7}}",
    "%0d%0aX: y",
    "-1",
    "0" * 40,
)


@each
def test_no_path_parameter_is_a_500(listener: str, cast: Cast, peers: Any, settings: Any) -> None:
    settings.RATES = dict.fromkeys(settings.RATES, "100000/m")
    client = program(key_of(cast.operator, "admin"), listener)
    for route in of(listener):
        for piece in PIECES if "name" in route.path or UUID in route.path else ():
            path = route.path.replace("name", piece).replace(UUID, piece)
            for method in ("GET", "DELETE", "POST"):
                answer = client.send(method, path, None if method == "GET" else {})
                assert answer.status_code < 500 or is_not_built(answer), (method, path)


@pytest.mark.parametrize("route", sorted(OPEN), ids=str)
def test_what_is_open_says_nothing_about_people_or_models(route: Route, cast: Cast) -> None:
    promoted("a-secret-model")
    text = ListenerClient(route.listener).get(route.path).content.decode()
    assert "olga" not in text
    assert "a-secret-model" not in text


def test_static_files_stay_in_their_folder() -> None:
    client = ListenerClient()
    for path in (
        "/static/../manage.py",
        "/static/%2e%2e/manage.py",
        "/static//etc/passwd",
        "/static/",
        "/static/%00",
    ):
        assert client.get(path).status_code in (301, 302, 404), path
