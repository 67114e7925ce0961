"""All six listeners over their real ports and sockets, as programs meet them."""

import json
import socket
import stat

import httpx
import pytest

from secai_site.listeners import LISTENERS
from tests.support.box import Box, until

pytestmark = pytest.mark.e2e
EVERY = pytest.mark.parametrize("name", list(LISTENERS))

# The routes of the reference that read, and the ones that change, by listener.
READS = [
    ("registry", "/v1/models"), ("registry", "/v1/quarantine"), ("agent", "/v1/tasks"), ("agent", "/v1/modes"),
    ("ui", "/api/models"), ("ui", "/api/diffusion/runtime/status"), ("ui", "/api/diffusion/runtime/progress"),
    ("ui", "/api/vault/status"), ("ui", "/api/updates/check"), ("ui", "/api/security/status"), ("ui", "/api/status"),
]  # fmt: skip
CHANGES = [
    ("registry", "/v1/promote"), ("registry", "/v1/model/verify-manifest"), ("firewall", "/v1/tool/invoke"),
    ("airlock", "/v1/proxy"), ("agent", "/v1/task"), ("search", "/search"),
    ("ui", "/api/chat"), ("ui", "/api/generate"),
    ("ui", "/api/models/download"), ("ui", "/api/models/import"), ("ui", "/api/models/verify-manifest"),
    ("ui", "/api/diffusion/runtime/enable"), ("ui", "/api/vault/lock"), ("ui", "/api/vault/unlock"),
    ("ui", "/api/vault/keepalive"), ("ui", "/api/emergency/panic"), ("ui", "/api/updates/stage"),
    ("ui", "/api/updates/apply"), ("ui", "/api/updates/rollback"), ("ui", "/api/vm/gpu"),
]  # fmt: skip


@EVERY
def test_health_is_open_on_both_doors(box: Box, name: str) -> None:
    expected = {"status": "ok", "service": name, "version": "0.1.0"}
    assert httpx.get(f"{box.url(name)}/health").json() == expected
    door = httpx.Client(transport=httpx.HTTPTransport(uds=str(box.home / "run" / f"{name}.sock")))
    with door:
        assert door.get("http://localhost/health").json() == expected


@EVERY
def test_the_unix_socket_belongs_to_its_owner_alone(box: Box, name: str) -> None:
    mode = (box.home / "run" / f"{name}.sock").stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


@pytest.mark.parametrize(("name", "path"), READS)
def test_reading_needs_a_key(box: Box, key: str, name: str, path: str) -> None:
    without = httpx.get(box.url(name) + path)
    assert without.status_code == 401
    assert without.headers["WWW-Authenticate"].startswith("Bearer")
    assert set(without.json()) == {"error", "code"}
    with box.http(key, name) as http:
        assert http.get(path).status_code in (200, 501)


@pytest.mark.parametrize(("name", "path"), CHANGES)
def test_changing_needs_a_key_our_origin_and_our_host(box: Box, key: str, name: str, path: str) -> None:
    url = box.url(name) + path
    assert httpx.post(url, json={}).status_code == 401
    good = {"Authorization": f"Bearer {key}"}
    foreign = httpx.post(url, json={}, headers={**good, "Origin": "https://evil.example"})
    assert (foreign.status_code, foreign.json()["code"]) == (403, "auth.origin")
    crossing = httpx.post(url, json={}, headers={**good, "Sec-Fetch-Site": "cross-site"})
    assert crossing.status_code == 403
    assert httpx.post(url, json={}, headers={**good, "Host": "evil.example"}).status_code == 400
    text = httpx.post(url, content=b"{}", headers={**good, "Content-Type": "text/plain"})
    assert text.status_code == 415


@EVERY
def test_a_page_of_another_port_is_foreign(box: Box, key: str, name: str) -> None:
    other = box.url("airlock" if name != "airlock" else "ui")
    path = dict(CHANGES)[name]
    answer = httpx.post(
        box.url(name) + path, json={}, headers={"Authorization": f"Bearer {key}", "Origin": other}
    )
    assert answer.status_code == 403


@EVERY
def test_a_huge_body_is_refused_before_it_is_kept(box: Box, key: str, name: str) -> None:
    path = dict(CHANGES)[name]
    with box.http(key, name) as http:
        announced = http.post(
            path, content=b" " * (2 * 1024 * 1024), headers={"Content-Type": "application/json"}
        )
        assert (announced.status_code, announced.json()["code"]) == (413, "request.too_large")


@EVERY
def test_a_huge_chunked_body_is_refused_in_its_middle(box: Box, key: str, name: str) -> None:
    head = (
        f"POST {dict(CHANGES)[name]} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    with socket.create_connection(("localhost", box.port(name)), timeout=10) as door:
        door.sendall(head.encode())
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        answer = b""
        try:
            for _ in range(100):
                door.sendall(chunk)
        except OSError:
            pass  # it stopped listening, which is the point
        while piece := door.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_promote_with_a_wrong_hash_is_a_400(box: Box, key: str) -> None:
    with box.http(key) as http:
        item = http.post("/api/models/import", files={"file": ("other.gguf", b"no model" * 9)}).json()
    with box.http(key, "registry") as http:
        before = http.get("/v1/models").json()
        body = {"name": "other", "path": item["id"], "sha256": "0" * 64, "format": "gguf", "source": "local"}
        wrong = http.post("/v1/promote", json=body)
        assert (wrong.status_code, wrong.json()["code"]) == (400, "promote.mismatch")
        missing = http.post("/v1/promote", json={**body, "path": "nothing"})
        assert (missing.status_code, missing.json()["code"]) == (400, "promote.missing")
        assert http.post("/v1/promote", json={**body, "sha256": "XYZ"}).status_code == 400
        unscanned = http.post("/v1/promote", json={**body, "sha256": item["sha256"]})
        assert (unscanned.status_code, unscanned.json()["code"]) == (400, "promote.not_scanned")
        assert http.get("/v1/models").json() == before


def test_the_browser_session_serves_the_browsable_api_of_every_listener(box: Box) -> None:
    from tests.support.box import PASSWORD

    with httpx.Client(trust_env=False) as person:
        page = person.get(f"{box.url()}/sign-in").text
        token = page.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
        form = {"username": "olga", "password": PASSWORD, "csrfmiddlewaretoken": token}
        done = person.post(f"{box.url()}/sign-in", data=form, headers={"Origin": box.url()})
        assert done.status_code == 302
        shown = person.get(f"{box.url('registry')}/v1/models", headers={"Accept": "text/html"})
        assert shown.status_code == 200
        assert "SmolLM2-135M-Instruct" in shown.text


@EVERY
def test_each_listener_describes_itself(box: Box, key: str, name: str) -> None:
    with box.http(key, name) as http:
        schema = http.get("/api/schema/", headers={"Accept": "application/vnd.oai.openapi+json"})
    assert schema.status_code == 200
    document = schema.text
    assert "3.1" in document[:40]
    assert dict(CHANGES)[name] in document


def test_an_upload_goes_through_quarantine(box: Box, key: str) -> None:
    with box.http(key) as http:
        bad = http.post(
            "/api/models/import", files={"file": ("weights.gguf", b"\x80\x04K\x01." + b"x" * 300)}
        )
        assert bad.status_code == 200, bad.text
        assert bad.json()["status"] == "quarantined"
    with box.http(key, "registry") as registry:
        path = f"/v1/quarantine/{bad.json()['id']}"
        item = until(lambda: (i := registry.get(path).json())["status"] == "refused" and i, 30)
        gate = next(stage for stage in item["stages"] if stage["name"] == "format_gate")
        assert gate["verdict"] == "refuse"
        assert "pickle" in gate["reason"].lower()
        assert item["reason"] == gate["reason"]
        assert registry.delete(path).status_code == 200
        assert registry.get(path).status_code == 404


def test_an_upload_without_the_right_is_refused_before_its_body(box: Box) -> None:
    reader = box.key("olga", "read")
    with box.http(reader) as http:
        answer = http.post("/api/models/import", files={"file": ("a.gguf", b"x" * 3_000_000)})
        assert (answer.status_code, answer.json()["code"]) == (403, "auth.scope")
    assert list((box.home / "quarantine" / "incoming").iterdir()) == []


def test_the_audit_log_of_all_this_is_intact(box: Box, key: str) -> None:
    with box.http(key) as http:
        result = http.get("/api/audit/verify").json()
    assert result["ok"], result
    assert result["checked"] > 5
    assert "intact" in box.manage("audit_verify")
    assert json.loads(box.manage("audit_verify", "--json"))["ok"]
