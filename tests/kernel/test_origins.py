"""Other sites, other ports and other names of this machine are kept out."""

import pytest

from secai_site.kernel.http.middleware import origin_is_ours
from tests.support.cast import Cast
from tests.support.client import ListenerClient, browser

FOREIGN = [
    "null", "", "http://evil.example", "https://localhost:8480", "http://localhost", "http://localhost:8470",
    "http://127.0.0.1:8480", "http://localhost:8480.evil.example", "http://localhost:8480@evil.example",
    "http://localhost:8480/", "http://localhost:8480/path", "http://[", "http://[::1", "http://localhost:99999999",
    "http://evil.example http://localhost:8480", "http://local\thost:8480", "http://localhost:8480\x00",
    "//localhost:8480",
]  # fmt: skip


@pytest.mark.parametrize("origin", FOREIGN)
def test_a_change_from_a_foreign_origin_is_refused(cast: Cast, origin: str) -> None:
    answer = browser(cast.operator).send("POST", "/api/vm/gpu", {}, headers={"Origin": origin})
    assert (answer.status_code, answer.json()["code"]) == (403, "auth.origin")


@pytest.mark.parametrize("origin", FOREIGN)
def test_no_foreign_origin_is_ours(origin: str) -> None:
    assert not origin_is_ours(origin, scheme="http", host="localhost:8480")


def test_our_own_origin_may(cast: Cast) -> None:
    answer = browser(cast.operator).send(
        "POST", "/api/vm/gpu", {}, headers={"Origin": "http://localhost:8480"}
    )
    assert answer.status_code == 200


def test_the_address_of_the_proxy_in_front_may(settings: object) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://box.example"]  # type: ignore[attr-defined]
    assert origin_is_ours("https://box.example", scheme="http", host="localhost:8480")
    assert not origin_is_ours("https://box.example.evil", scheme="http", host="localhost:8480")


def test_the_browsers_word_on_another_site_counts(cast: Cast) -> None:
    client = browser(cast.operator)
    answer = client.send("POST", "/api/vm/gpu", {}, headers={"Sec-Fetch-Site": "cross-site"})
    assert (answer.status_code, answer.json()["code"]) == (403, "auth.origin")
    assert (
        client.send("POST", "/api/vm/gpu", {}, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
    )


def test_reading_across_sites_is_the_browsers_business(cast: Cast) -> None:
    answer = browser(cast.operator).get("/api/keys", headers={"Origin": "http://evil.example"})
    assert answer.status_code == 200
    assert "Access-Control-Allow-Origin" not in answer.headers


HOSTS = [
    "evil.example", "localhost.evil.example", "evil.localhost", "localhost@evil.example", "127.0.0.2", "0.0.0.0",
    "2130706433", "0x7f.1", "[::2]", "[::1", "localhost:port", "localhost:8480:1", "local host", "",
    "localhost\\evil", "127.1", "xn--localhost", "*",
]  # fmt: skip


@pytest.mark.django_db
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("path", ["/health", "/api/keys", "/sign-in", "/static/ui/js/chat.js", "/nothing"])
def test_a_foreign_host_gets_400(host: str, path: str) -> None:
    answer = ListenerClient().get(path, HTTP_HOST=host)
    assert answer.status_code == 400
    assert answer.json()["code"] == "request.host"


@pytest.mark.django_db
@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8480", "127.0.0.1:1", "[::1]:8480", "localhost."])
def test_the_names_of_this_machine_are_taken(host: str) -> None:
    assert ListenerClient().get("/health", HTTP_HOST=host).status_code == 200


@pytest.mark.django_db
def test_forwarded_headers_change_nothing() -> None:
    headers = {"X-Forwarded-Host": "evil.example", "X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "https"}
    answer = ListenerClient().get("/sign-in", headers=headers)
    assert answer.status_code == 200
    assert "evil.example" not in answer.content.decode()


@pytest.mark.django_db
def test_every_answer_carries_the_headers_that_protect() -> None:
    for path in ("/health", "/sign-in", "/nothing", "/api/keys"):
        headers = ListenerClient().get(path).headers
        policy = headers["Content-Security-Policy"].split("; ")
        assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} <= {
            *policy
        }, path
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "same-origin"


@pytest.mark.django_db
def test_a_request_of_no_listener_finds_nothing() -> None:
    client = ListenerClient()
    client.defaults.pop("secai.listener")
    assert client.get("/health").status_code == 404
