"""Calls between services: their own words and codes come back, and silence is a 503."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer
from typing import Any

import httpx
import pytest

from registry.client import RegistryClient
from secai_site.kernel.http import peer
from secai_site.kernel.http.peer import Peer, PeerDown, PeerError
from tests.support.airlock import Pieces
from tests.support.builders import promoted
from tests.support.cast import Cast
from tests.support.client import ListenerClient
from tests.support.peers import Nobody


def answering(status: int, body: bytes, **headers: str) -> httpx.MockTransport:
    """A service that always gives this answer."""
    return httpx.MockTransport(lambda _request: httpx.Response(status, content=body, headers=headers))


def ask(monkeypatch: pytest.MonkeyPatch, transport: httpx.BaseTransport) -> Any:
    """One call over `transport`."""
    monkeypatch.setattr(peer, "transport_for", lambda _service: transport)
    return Peer("registry", caller="ui").call("GET", "/v1/models")


def test_a_service_that_is_down_is_503(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PeerDown) as caught:
        ask(monkeypatch, Nobody())
    assert (caught.value.http_status, caught.value.error_code, caught.value.retry_after) == (
        503,
        "service.down",
        2,
    )


# httpcore leaves the socket of a failed connection to the garbage collector
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
def test_no_socket_at_all_is_503() -> None:
    with pytest.raises(PeerDown):
        Peer("search", caller="ui").call("GET", "/health")


def test_an_answer_that_is_no_json_is_503(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PeerDown):
        ask(monkeypatch, answering(200, b"<html>"))


def test_a_refusal_keeps_its_words_code_status_and_members(monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'{"error": "Too fast.", "code": "rate.limited", "status": "denied", "reason": "r", "left": 0}'
    with pytest.raises(PeerError) as caught:
        ask(monkeypatch, answering(429, body, **{"Retry-After": "9"}))
    error = caught.value
    assert (error.http_status, error.error_code, error.message, error.retry_after) == (
        429,
        "rate.limited",
        "Too fast.",
        9,
    )
    assert error.extra == {"reason": "r", "left": 0}


@pytest.mark.parametrize("body", [b"{}", b"", b"[]", b'"no"', b"null"])
def test_a_bare_refusal_is_still_a_refusal(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    with pytest.raises(PeerError) as caught:
        ask(monkeypatch, answering(403, body))
    assert (caught.value.http_status, caught.value.error_code) == (403, "service.refused")


def test_the_call_carries_the_token_and_the_person(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[httpx.Request] = []

    def note(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=[])

    monkeypatch.setattr(peer, "transport_for", lambda _service: httpx.MockTransport(note))
    Peer("registry", caller="ui").call("GET", "/v1/models", on_behalf_of=7)
    assert seen[0].headers["Authorization"].startswith("Bearer secai-service_ui_")
    assert seen[0].headers["Secai-On-Behalf-Of"] == "7"


def test_a_name_cannot_leave_its_place_in_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def note(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.raw_path.decode())
        return httpx.Response(200, json={})

    monkeypatch.setattr(peer, "transport_for", lambda _service: httpx.MockTransport(note))
    client = RegistryClient(caller="ui")
    for name in ("a/../../quarantine", "a?force=true", "a#b", "a b", "ä"):
        client.model(name)
    assert all(path.startswith("/v1/model/") and path.count("/") == 3 and "?" not in path for path in seen)


def test_a_redirect_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PeerError):
        ask(monkeypatch, answering(302, b"{}", Location="http://evil.example/"))


def stream(monkeypatch: pytest.MonkeyPatch, transport: httpx.BaseTransport, **options: Any) -> list[bytes]:
    """The pieces of one streamed answer over `transport`."""
    monkeypatch.setattr(peer, "transport_for", lambda _service: transport)
    asked = Peer("airlock", caller="ui").stream("POST", "/v1/proxy", json={}, accept="a/b", **options)
    with asked as answer:
        return list(answer.chunks)


def test_an_answer_is_streamed_in_the_pieces_in_which_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[httpx.Request] = []

    def note(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(
            200, headers={"Content-Encoding": "gzip"}, stream=Pieces(iter([b"one", b"two"]))
        )

    assert stream(monkeypatch, httpx.MockTransport(note), on_behalf_of=7) == [b"one", b"two"]
    assert (seen[0].headers["Accept"], seen[0].headers["Secai-On-Behalf-Of"]) == ("a/b", "7")
    assert seen[0].headers["Authorization"].startswith("Bearer secai-service_ui_")


def test_a_refused_stream_keeps_its_words_and_code(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PeerError) as caught:
        stream(monkeypatch, answering(403, b'{"error": "No.", "code": "airlock.no"}'))
    assert (caught.value.http_status, caught.value.error_code, caught.value.message) == (
        403,
        "airlock.no",
        "No.",
    )


def test_a_stream_that_breaks_or_never_begins_is_503(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Iterator[bytes]:
        yield b"one"
        raise ConnectionError

    cut = httpx.MockTransport(lambda _request: httpx.Response(200, stream=Pieces(broken())))
    for transport in (cut, Nobody()):
        with pytest.raises(PeerDown):
            stream(monkeypatch, transport)


def test_the_wire_is_a_unix_socket(monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'["over the socket"]')

        def address_string(self) -> str:
            return "peer"

        def log_message(self, *_args: Any) -> None:
            pass

    settings.RUN_DIR = tmp_path
    with UnixStreamServer(str(tmp_path / "registry.sock"), Answer) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        caller = Peer("registry", caller="ui")
        assert caller.call("GET", "/v1/models") == ["over the socket"]
        caller._open().close()
        thread.join()


def test_a_route_that_needs_a_service_that_is_down_says_so(
    admin_program: ListenerClient, peers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer, "transport_for", lambda _service: Nobody())
    for method, path, body in (
        ("GET", "/api/models", None), ("POST", "/api/chat", {"message": "hello"}),
        ("POST", "/api/models/verify-manifest", {}), ("DELETE", "/api/models/tiny", None),
    ):  # fmt: skip
        answer = admin_program.send(method, path, body)
        assert (answer.status_code, answer.json()["code"]) == (503, "service.down"), path
        assert answer["Retry-After"] == "2"


def test_the_caller_of_a_peer_is_checked_there_too(cast: Cast, peers: Any) -> None:
    promoted()
    client = RegistryClient(caller="ui")
    with pytest.raises(PeerError) as caught:
        client.delete("tiny", force=False, by=cast.member.pk)
    assert (caught.value.http_status, caught.value.error_code) == (403, "auth.scope")
    client.delete("tiny", force=False, by=cast.operator.pk)
    assert client.models() == []
