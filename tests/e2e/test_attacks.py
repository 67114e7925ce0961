"""What only a real server can get wrong: bytes on the wire, half bodies, and what they leave behind."""

import json
import os
import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from django.conf import settings

from secai_site.listeners import LISTENERS
from tests.support.box import PASSWORD, Box, until
from tests.support.builders import BOUNDARY, form
from tests.support.hostile_models import Case, hostile, small_safetensors

pytestmark = pytest.mark.e2e
IMPORT = "/api/models/import"
TYPE = f"multipart/form-data; boundary={BOUNDARY}"


@pytest.fixture
def person(box: Box) -> Iterator[httpx.Client]:
    """The operator's browser, signed in."""
    with httpx.Client(base_url=box.url(), trust_env=False, headers={"Origin": box.url()}) as client:
        token = client.get("/sign-in").text.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
        form_fields = {"username": "olga", "password": PASSWORD, "csrfmiddlewaretoken": token}
        until(lambda: client.post("/sign-in", data=form_fields).status_code == 302, 70)
        yield client


def incoming(box: Box) -> list[str]:
    """Uploads that nobody has taken."""
    return os.listdir(box.home / "quarantine" / "incoming")


def raw(box: Box, data: bytes, *, listener: str = "ui", close: bool = False) -> bytes:
    """Send bytes as they are; what comes back until the server closes or falls silent."""
    with socket.create_connection(("localhost", box.port(listener)), timeout=5) as door:
        door.sendall(data)
        if close:
            return b""
        answer = b""
        try:
            while piece := door.recv(65536):
                answer += piece
                head, _, body = answer.partition(b"\r\n\r\n")
                length = next(
                    (int(h[15:]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length:")),
                    None,
                )
                if length is not None and len(body) >= length:
                    break
        except TimeoutError:
            pass
        return answer


def head(path: str, key: str, *more: str, method: str = "POST") -> bytes:
    """A request's head."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {key}", *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


# --- uploads -----------------------------------------------------------------------------------------


def test_a_good_file_is_promoted_and_listed(box: Box, key: str) -> None:
    with box.http(key) as http:
        sent = http.post(
            IMPORT, files={"file": ("small.safetensors", small_safetensors())}, data={"name": "small"}
        )
        assert sent.status_code == 200, sent.text
        found = until(
            lambda: [
                m
                for m in http.get("/api/models").json()
                if m["name"] == "small" and m["status"] == "promoted"
            ]
        )
        assert found[0]["sha256"] == sent.json()["sha256"]
        assert {stage["verdict"] for stage in found[0]["stages"]} <= {"pass", "not_applicable"}
        assert http.delete("/api/models/small").status_code == 200


@pytest.mark.parametrize("case", list(hostile())[::12], ids=lambda case: case.name)
def test_a_hostile_file_is_refused_with_its_stage_and_reason(box: Box, key: str, case: Case) -> None:
    with box.http(key) as http, box.http(key, "registry") as registry:
        sent = http.post(
            IMPORT, content=form(("file", "hostile.gguf", case.data)), headers={"Content-Type": TYPE}
        ).json()
        item = until(
            lambda: (i := registry.get(f"/v1/quarantine/{sent['id']}").json())["status"] == "refused" and i
        )
        gate = next(stage for stage in item["stages"] if stage["name"] == "format_gate")
        assert (gate["verdict"], gate["evidence"]["code"]) == ("refuse", case.code)
        assert item["reason"]
        registry.delete(f"/v1/quarantine/{sent['id']}")
        assert http.get("/health").status_code == 200


def test_an_upload_refused_by_the_view_leaves_nothing(box: Box, person: httpx.Client) -> None:
    answer = person.post(IMPORT, files={"file": ("a.gguf", b"x" * 100_000)})
    assert (answer.status_code, answer.json()["code"]) == (403, "auth.csrf")
    until(lambda: incoming(box) == [], 3)


@pytest.mark.parametrize("listener", [name for name in LISTENERS if name != "ui"])
def test_an_upload_at_another_listener_leaves_nothing(box: Box, key: str, listener: str) -> None:
    with box.http(key, listener) as http:
        assert http.post(IMPORT, files={"file": ("a.gguf", b"x" * 100_000)}).status_code == 404
    until(lambda: incoming(box) == [], 3)


def test_an_upload_broken_off_leaves_nothing(box: Box, key: str) -> None:
    body = form(("file", "a.gguf", b"x" * 500_000))
    raw(
        box,
        head(IMPORT, key, f"Content-Type: {TYPE}", f"Content-Length: {len(body)}") + body[:300_000],
        close=True,
    )
    until(lambda: incoming(box) == [], 5)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (form(("file", "d/a", b"1"), ("file", "d/A", b"2")), 400, "upload.paths"),
        (form(("name", None, b"x")), 400, "upload.no_file"),
        (form(("file", "a", b"1"), end=False), 400, "upload.truncated"),
        (form(("name", None, b"../x"), ("file", "a", b"1")), 400, "model.name"),
        (b"", 400, "upload.truncated"),
    ],
)
def test_a_bad_upload_is_refused_and_leaves_nothing(
    box: Box, key: str, body: bytes, status: int, code: str
) -> None:
    with box.http(key) as http:
        answer = http.post(IMPORT, content=body, headers={"Content-Type": TYPE})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    until(lambda: incoming(box) == [], 3)


def test_a_file_larger_than_the_disk_is_507_at_once(box: Box, key: str) -> None:
    answer = raw(box, head(IMPORT, key, f"Content-Type: {TYPE}", f"Content-Length: {2**39}"))
    assert answer.startswith(b"HTTP/1.1 507 ")
    assert b"storage.full" in answer
    assert incoming(box) == []


def test_an_upload_of_another_type_is_415(box: Box, key: str) -> None:
    with box.http(key) as http:
        assert (
            http.post(IMPORT, content=b"x", headers={"Content-Type": "application/octet-stream"}).status_code
            == 415
        )
    assert incoming(box) == []


# --- requests that two servers would read differently ------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [
        ("Content-Length: 2", "Content-Length: 3"), ("Content-Length: 2", "Transfer-Encoding: chunked"),
        ("Content-Length: -1",), ("Content-Length: 2x",), ("Content-Length: +2",), ("Transfer-Encoding: gzip",),
        ("Transfer-Encoding: chunked, identity",), ("Content-Length : 2",), ("X\x00: y", "Content-Length: 2"),
        ("Host: evil.example", "Content-Length: 2"),
    ],
)  # fmt: skip
def test_ambiguous_requests_change_nothing(box: Box, key: str, more: tuple[str, ...]) -> None:
    request = head("/api/vm/gpu", key, "Content-Type: application/json", *more) + b"{}0\r\n\r\n"
    answer = raw(box, request)
    assert b" 500 " not in answer[:20]
    assert not answer.startswith(b"HTTP/1.1 200 "), answer[:200]


@pytest.mark.parametrize(
    "path", ["//api/keys", "/api//keys", "/api/keys/", "/./api/keys", "http://evil.example/api/keys", "*", ""]
)
def test_odd_targets_are_no_way_in(box: Box, path: str) -> None:
    answer = raw(box, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert not answer.startswith(b"HTTP/1.1 200 ")
    assert b" 500 " not in answer[:20]


def test_a_header_with_an_underscore_is_not_the_one_with_a_hyphen(box: Box, key: str) -> None:
    plain = f"GET /api/audit/verify HTTP/1.1\r\nHost: localhost\r\nAuthorization_: Bearer {key}\r\n\r\n"
    assert raw(box, plain.encode()).startswith(b"HTTP/1.1 401 ")


def test_health_answers_while_slow_clients_hold_connections(box: Box) -> None:
    doors = [socket.create_connection(("localhost", box.port()), timeout=5) for _ in range(100)]
    try:
        for door in doors:
            door.sendall(b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        began = time.monotonic()
        assert httpx.get(f"{box.url()}/health").status_code == 200
        assert time.monotonic() - began < 2
    finally:
        for door in doors:
            door.close()


# --- revoking while it runs --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/chat", {"message": "Tell a very long story about a lighthouse keeper, with many chapters."}),
        ("/api/generate", {"prompt": "Write a very long story.\n\nChapter 1\n\n"}),
    ],
)
def test_a_revoked_key_ends_its_stream(box: Box, path: str, body: dict[str, str]) -> None:
    passing = box.key("olga", "chat", "read", "models")
    revoked, lines = 0.0, []
    with (
        box.http(passing) as http,
        http.stream("POST", path, json={**body, "stream": True, "max_tokens": 6000, "temperature": 0}) as r,
    ):
        for line in r.iter_lines():
            lines += [line] if line else []
            if len(lines) == 6:
                box.manage("apikey", "revoke", "_".join(passing.split("_")[:2]))
                revoked = time.monotonic()
        assert revoked
        assert time.monotonic() - revoked < 2
    assert json.loads(lines[-1].removeprefix("data: "))["finish_reason"] == "cancelled"


# --- at rest -----------------------------------------------------------------------------------------


def test_secrets_and_state_are_the_owners_alone(box: Box) -> None:
    for path in [box.home, *box.home.rglob("*")]:
        if (
            not path.is_symlink()
            and path.name not in ("serve.log",)
            and "/tmp/" not in str(path.relative_to(box.home))
        ):
            mode = path.stat().st_mode
            private = mode & 0o077 == 0 or path.parent.stat().st_mode & 0o077 == 0
            assert private, path
    for path in (box.home / "secrets").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    assert settings.BIND == "127.0.0.1"
