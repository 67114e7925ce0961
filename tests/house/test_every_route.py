"""What holds for every route of every listener, also those that nobody has written yet."""

import json
from typing import Any

import pytest

from tests.house.routes import EVERY, OPEN, Route
from tests.support.builders import promoted
from tests.support.cast import Cast, key_of
from tests.support.client import ListenerClient, browser, program

UNSAFE = ("POST", "PUT", "PATCH", "DELETE")
METHODS = ("GET", "HEAD", "OPTIONS", *UNSAFE, "TRACE", "CONNECT", "PROPFIND", "get", "X" * 50)
pytestmark = pytest.mark.django_db(transaction=True)
CLOSED = [route for route in EVERY if route not in OPEN]
each = pytest.mark.parametrize("route", EVERY, ids=str)
each_closed = pytest.mark.parametrize("route", CLOSED, ids=str)


def is_api(route: Route) -> bool:
    """Whether programs use it."""
    return route.path.startswith(("/api/", "/v1/", "/search", "/health"))


def test_the_walk_finds_the_routes() -> None:
    paths = {str(route) for route in EVERY}
    assert {"ui:/api/chat", "registry:/v1/promote", "airlock:/v1/proxy", "agent:/v1/task/name/approve"} <= paths
    assert len(EVERY) > 80


@each_closed
def test_nobody_gets_in_without_credentials(route: Route) -> None:
    client = ListenerClient(route.listener)
    for method in ("GET", *UNSAFE):
        answer = client.send(method, route.path, None if method == "GET" else {})
        if is_api(route):
            assert answer.status_code == 401, method
            assert answer.json()["code"] == "auth.required"
        else:
            leads_away = answer.status_code == 302 and answer["Location"].startswith(("/sign-in", "/admin/login"))
            assert leads_away or answer.status_code in (403, 404, 405), (method, answer.status_code)


@each_closed
def test_a_bad_key_does_not_get_in_either(route: Route) -> None:
    answer = program("secai_abcdefgh_" + "x" * 43, route.listener).get(route.path)
    assert answer.status_code in ((401,) if is_api(route) else (302, 404, 405))


@each
def test_a_foreign_origin_changes_nothing(route: Route, cast: Cast) -> None:
    client = browser(cast.operator, route.listener)
    for method in UNSAFE:
        for header in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
            answer = client.send(method, route.path, {}, headers=header)
            assert answer.status_code == 403, (method, header)


@each
def test_a_foreign_host_is_a_400(route: Route) -> None:
    for method in ("GET", "POST"):
        answer = ListenerClient(route.listener).send(method, route.path, HTTP_HOST="evil.example")
        assert answer.status_code == 400


@each
def test_a_session_changes_nothing_without_its_csrf_token(route: Route, cast: Cast) -> None:
    client = browser(cast.operator, route.listener, csrf=False)
    for method in UNSAFE:
        answer = client.send(method, route.path, {})
        assert answer.status_code in (403, 405), method


BODIES: list[bytes] = [
    b"", b"{}", b"[]", b"null", b"1", b'"x"', b"{", b"\xff\xfe", b"[" * 50, b'{"a": NaN}', b'{"a": 1e999}', b'{"": ""}',
    b'{"name": {"$gt": ""}, "path": [], "sha256": 1, "text": null}', b'{"message": {"a": [[[]]]}, "messages": {"0": 1}}',
    b'{"prompt": 1, "model": [], "stop": {}, "tool": null, "arguments": [], "url": 5, "intent": false}',
    json.dumps(dict.fromkeys("abcdefgh", "x" * 1000)).encode(),
    b'{"level": 99999999999999999999999999999999, "max_tokens": -1e300, "seed": 1.5, "limit": "x"}',
]  # fmt: skip
KINDS = ("application/json", "application/json; charset=utf-16", "multipart/form-data; boundary=x", "text/plain", "", "a/b/c;;=")


@each
def test_no_method_and_no_body_is_a_500(route: Route, cast: Cast, peers: Any, settings: Any) -> None:
    settings.RATES = dict.fromkeys(settings.RATES, "100000/m")
    promoted("name")
    client = program(key_of(cast.operator, "admin"), route.listener)
    for method in METHODS:
        assert client.send(method, route.path).status_code < 500 or is_not_built(client.send(method, route.path))
    for body in BODIES:
        answer = client.send("POST", route.path, body)
        assert answer.status_code < 500 or is_not_built(answer), body
    for kind in KINDS:
        for method in ("POST", "PUT", "DELETE"):
            answer = client.send(method, route.path, b'{"a": 1}', content_type=kind)
            assert answer.status_code < 500 or is_not_built(answer), kind


def is_not_built(answer: Any) -> bool:
    """The one way in which a route may fail: it says that it does not exist yet."""
    if answer.status_code != 501:
        return False
    code: str = answer.json()["code"]
    return code == "service.not_built"


ACCEPTS = ("text/html", "*/*", "text/html;version=2", "application/xml", "text/event-stream", "x", "/", ";q=", "a" * 5000)
QUERIES = ("?x=1", "?format=xml", "?limit=1e9&before=x&q=%00", "?name=%ff&name=%00&force=true", "?" + "a=b&" * 300, "?%", "?as=x")


@each
def test_no_header_and_no_query_is_a_500(route: Route, cast: Cast, peers: Any) -> None:
    for client in (browser(cast.operator, route.listener), ListenerClient(route.listener)):
        for accept in ACCEPTS:
            answer = client.get(route.path, headers={"Accept": accept})
            assert answer.status_code < 500 or is_not_built_page(answer), accept
        for query in QUERIES:
            answer = client.get(route.path + query)
            assert answer.status_code < 500 or is_not_built(answer), query


def is_not_built_page(answer: Any) -> bool:
    """The same, also where the browsable API shows it."""
    return answer.status_code == 501 and b"service.not_built" in answer.content


PIECES = ("%2e%2e", "..%2f..%2fetc", "%00", "%ff%fe", "a" * 3000, "'; --", "{{7*7}}", "%0d%0aX: y", "-1", "0" * 40)


@pytest.mark.parametrize("route", [r for r in EVERY if "name" in r.path or "0000" in r.path], ids=str)
def test_no_path_parameter_is_a_500(route: Route, cast: Cast, peers: Any, settings: Any) -> None:
    settings.RATES = dict.fromkeys(settings.RATES, "100000/m")
    client = program(key_of(cast.operator, "admin"), route.listener)
    for piece in PIECES:
        path = route.path.replace("name", piece).replace("00000000-0000-4000-8000-000000000000", piece)
        for method in ("GET", "DELETE", "POST"):
            answer = client.send(method, path, None if method == "GET" else {})
            assert answer.status_code < 500 or is_not_built(answer), (method, path)


@each
def test_refusals_have_the_one_shape(route: Route) -> None:
    if is_api(route) and route not in OPEN:
        body = ListenerClient(route.listener).get(route.path).json()
        assert isinstance(body["error"], str)
        assert "." in body["code"]


@pytest.mark.parametrize("route", sorted(OPEN), ids=str)
def test_what_is_open_says_nothing_about_people_or_models(route: Route, cast: Cast) -> None:
    promoted("a-secret-model")
    text = ListenerClient(route.listener).get(route.path).content.decode()
    assert "olga" not in text
    assert "a-secret-model" not in text


def test_static_files_stay_in_their_folder() -> None:
    client = ListenerClient()
    for path in ("/static/../manage.py", "/static/%2e%2e/manage.py", "/static//etc/passwd", "/static/", "/static/%00"):
        assert client.get(path).status_code in (301, 302, 404), path
