"""Models as the pages and programs see them, and the state of the box."""

from pathlib import Path
from typing import Any

import pytest

from registry.models import Artifact, QuarantineItem
from secai_site.kernel.inference.echo import EchoEngine
from secai_site.kernel.inference.errors import ModelIntegrityError
from secai_site.kernel.jobs.models import Job
from tests.support.builders import flip_byte, held, promoted, submitted
from tests.support.cast import Cast, key_of
from tests.support.client import ListenerClient, browser, program

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def olga(cast: Cast, peers: EchoEngine) -> ListenerClient:
    """The operator's browser."""
    return browser(cast.operator)


def test_registry_and_quarantine_are_one_list(olga: ListenerClient) -> None:
    promoted("ready")
    held("waits", b"other")
    Artifact.objects.create(
        name="broken", path="/x", sha256="0" * 64, size_bytes=1, format="gguf", source="local", promoted_by="t",
        status="failed",
    )  # fmt: skip
    models = olga.get("/api/models").json()
    assert [(m["name"], m["status"], m["loaded"]) for m in models] == [
        ("broken", "failed", False), ("ready", "promoted", False), ("waits", "held", False),
    ]  # fmt: skip
    assert "not the one that was promoted" in models[0]["reason"]
    assert models[1]["fit"]["verdict"] in ("fits", "tight", "no")
    assert models[2]["id"] == str(QuarantineItem.objects.get().pk)
    assert len(models[1]["stages"]) == 7
    assert [(m["purpose"], m["download"]) for m in models[1:]] == [("chat", None), (None, None)]


def test_an_empty_box_lists_nothing(olga: ListenerClient) -> None:
    assert olga.get("/api/models").json() == []


def test_the_list_works_without_the_engine(olga: ListenerClient, peers: EchoEngine) -> None:
    promoted()
    peers.dead = True
    assert [m["name"] for m in olga.get("/api/models").json()] == ["tiny"]
    assert olga.get("/api/status").json()["engine"]["state"] == "down"


def test_a_model_is_loaded_and_unloaded(olga: ListenerClient, peers: EchoEngine) -> None:
    promoted()
    assert olga.send("POST", "/api/models/tiny/load", {}).json()["context_length"] == 4096
    assert olga.get("/api/models").json()[0]["loaded"] is True
    refused = olga.send("DELETE", "/api/models/tiny")
    assert (refused.status_code, refused.json()["code"]) == (409, "model.loaded")
    assert olga.send("POST", "/api/models/other/unload", {}).json()["code"] == "model.not_loaded"
    assert olga.send("POST", "/api/models/tiny/unload", {}).json()["status"] == "unloaded"
    assert olga.send("POST", "/api/models/tiny/unload", {}).status_code == 409
    assert olga.send("DELETE", "/api/models/tiny").status_code == 200
    assert not Artifact.objects.exists()


@pytest.mark.parametrize(
    ("purpose", "status"),
    [("chat", 200), ("completion", 200), ("embedding", 409), ("pictures", 409), ("weights", 409)],
)
def test_what_the_engine_runs_can_be_loaded(olga: ListenerClient, purpose: str, status: int) -> None:
    made = promoted()
    made.facts |= {"purpose": purpose}
    made.save()
    assert olga.send("POST", "/api/models/tiny/load", {}).status_code == status


def test_what_cannot_be_loaded_says_why(olga: ListenerClient, peers: EchoEngine) -> None:
    assert olga.send("POST", "/api/models/missing/load", {}).status_code == 404
    promoted()
    peers.refuse = ModelIntegrityError("The bytes differ.")
    answer = olga.send("POST", "/api/models/tiny/load", {})
    assert (answer.status_code, answer.json()["code"], answer.json()["integrity_failed"]) == (
        403, "model.integrity", True,
    )  # fmt: skip
    peers.refuse, peers.dead = None, True
    for what in ("load", "unload"):
        answer = olga.send("POST", f"/api/models/tiny/{what}", {})
        assert (answer.status_code, answer.json()["code"]) == (503, "engine.down")


def test_all_models_are_verified_from_here(olga: ListenerClient) -> None:
    flip_byte(Path(promoted().path))
    report = olga.send("POST", "/api/models/verify-manifest", {}).json()
    assert (report["ok"], report["models"][0]["status"]) == (False, "failed")


def test_quarantined_files_are_handled_from_here(olga: ListenerClient) -> None:
    item = held()
    assert olga.send("POST", f"/api/quarantine/{item.pk}/rescan", {}).json()["status"] == "waiting"
    refused = olga.send("POST", f"/api/quarantine/{item.pk}/promote", {})
    assert (refused.status_code, refused.json()["code"]) == (400, "promote.not_scanned")
    assert olga.send("DELETE", f"/api/quarantine/{item.pk}").json()["status"] == "dropped"
    assert olga.send("DELETE", f"/api/quarantine/{item.pk}").status_code == 404
    other = held("other", b"other")
    assert olga.send("POST", f"/api/quarantine/{other.pk}/promote", {}).json()["status"] == "promoted"


def test_a_member_may_load_and_not_manage(cast: Cast, peers: EchoEngine) -> None:
    promoted()
    item = submitted("waits")
    mia = browser(cast.member)
    assert mia.send("POST", "/api/models/tiny/load", {}).status_code == 200
    for method, path in (
        ("POST", "/api/models/tiny/unload"), ("DELETE", "/api/models/tiny"), ("POST", "/api/models/verify-manifest"),
        ("DELETE", f"/api/quarantine/{item.pk}"), ("POST", f"/api/quarantine/{item.pk}/promote"),
        ("POST", f"/api/quarantine/{item.pk}/rescan"), ("POST", "/api/models/download"),
    ):  # fmt: skip
        answer = mia.send(method, path, {})
        assert (answer.status_code, answer.json()["code"]) == (403, "auth.scope"), path
    assert Artifact.objects.exists()


@pytest.mark.parametrize(
    "name", ["%2e%2e", "..%2fquarantine", "%2e", "a%00b", "%ff", "x" * 3000, "a?force=true", "ä"]
)
def test_strange_names_reach_nothing(olga: ListenerClient, name: str) -> None:
    promoted()
    for method, path in (("DELETE", name), ("POST", f"{name}/load"), ("POST", f"{name}/unload")):
        assert olga.send(method, f"/api/models/{path}", {}).status_code in (400, 404, 405, 409)
    assert Artifact.objects.exists()


# --- the state of the box ----------------------------------------------------------------------------


def test_the_security_page_tells_the_facts(olga: ListenerClient) -> None:
    fields = ("vault_status", "firewall_active", "airlock_enabled", "search_enabled")
    body = olga.get("/api/security/status").json()
    assert [body[field] for field in fields] == ["uninitialized", False, False, False]
    assert (body["integrity_ok"], body["last_integrity_check"]) == (False, None)
    promoted()
    Job.objects.create(
        kind="registry.verify", state="succeeded", result={"ok": True}, finished_at="2026-01-01T00:00:00Z"
    )
    body = olga.get("/api/security/status").json()
    assert (body["integrity_ok"], body["last_integrity_check"]) == (True, "2026-01-01T00:00:00Z")
    Artifact.objects.update(status="failed")
    assert olga.get("/api/security/status").json()["integrity_ok"] is False


def test_the_status_line_shows_the_work(olga: ListenerClient) -> None:
    Job.objects.create(kind="registry.scan", state="running", stage="Reading", progress=0.5)
    body = olga.get("/api/status").json()
    assert body["engine"]["state"] == "idle"
    assert body["work"][0]["stage"] == "Reading"


def test_the_audit_chain_is_read_by_operators(olga: ListenerClient, cast: Cast) -> None:
    body = olga.get("/api/audit/verify").json()
    assert (body["ok"], body["problem"]) == (True, None)
    assert program(key_of(cast.member, "read")).get("/api/audit/verify").status_code == 403


def test_the_gpu_is_looked_for(olga: ListenerClient) -> None:
    assert set(olga.send("POST", "/api/vm/gpu", {}).json()) == {"detected", "type", "name", "vram_mb"}
    assert olga.send("POST", "/api/vm/gpu").status_code == 200
    assert olga.send("POST", "/api/vm/gpu", {"enabled": True}).status_code == 501


@pytest.mark.parametrize(
    ("body", "status"),
    [({}, 501), ({"level": 1}, 501), ({"level": 3, "passphrase": "x", "drill": True}, 501), ({"level": 0}, 400),
     ({"level": 4}, 400), ({"level": True}, 400), ({"level": 1.0}, 400), ({"level": "2"}, 400), ({"drill": "yes"}, 400),
     ({"drill": 1}, 400), ({"passphrase": 1}, 400), ({"x": 1}, 400)],
)  # fmt: skip
def test_the_emergency_switch_validates_before_it_says_that_it_is_not_built(
    olga: ListenerClient, body: dict[str, Any], status: int
) -> None:
    assert olga.send("POST", "/api/emergency/panic", body).status_code == status


def test_verifying_as_a_job_tells_how_far_it_is(olga: ListenerClient, cast: Cast) -> None:
    promoted("tiny")
    started = olga.send("POST", "/api/models/verify-manifest?async=true", {})
    assert started.status_code == 202
    path = f"/api/models/jobs/{started.json()['job']}"
    assert olga.get(path).json()["state"] == "queued"
    Job.objects.filter(kind="registry.verify").update(state="succeeded", result={"ok": True})
    assert olga.get(path).json()["result"] == {"ok": True}
    assert browser(cast.member).get(path).status_code == 404
