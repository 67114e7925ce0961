"""A promoted model is what was promoted, or it is out of use."""

import errno
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.db import OperationalError

from registry import integrity, services, store
from registry.jobs import scan_item, verify
from registry.lifecycle import ItemStatus
from registry.models import Artifact, QuarantineItem
from registry.quarantine.inspect import inspect_file
from registry.sweep import sweep as clear_up
from secai_site.kernel.errors import Conflict
from secai_site.kernel.files import Unreadable, open_below
from secai_site.kernel.inference.echo import EchoEngine
from secai_site.kernel.inference.protocol import ModelFile
from secai_site.kernel.jobs.models import Job
from secai_site.kernel.jobs.worker import JobContext
from tests.support.builders import flip_byte, held, incoming, promoted, submitted
from tests.support.cast import Cast, key_of
from tests.support.client import ListenerClient, caller, events_of, program
from tests.support.hostile_models import small_gguf, small_safetensors

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def registry(cast: Cast, engine: EchoEngine) -> ListenerClient:
    """A program with the scope `models` at the registry's door."""
    return program(key_of(cast.operator, "read", "models"), "registry")


def report_of(client: ListenerClient, **query: str) -> dict[str, Any]:
    """POST /v1/model/verify-manifest."""
    answer = client.send("POST", "/v1/model/verify-manifest", {}, query_params=query)
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    return body


def test_sound_models_are_verified(registry: ListenerClient) -> None:
    one, two = promoted("one"), promoted("two")
    report = report_of(registry)
    assert (report["ok"], report["checked"]) == (True, 2)
    assert [(m["name"], m["status"], m["expected"] == m["actual"]) for m in report["models"]] == [
        ("one", "verified", True), ("two", "verified", True),
    ]  # fmt: skip
    assert report["models"][0]["tensors"] == {"checked": 2, "failed": 0, "changed": []}
    assert Artifact.objects.get(pk=one.pk).verified_at > one.verified_at
    assert report_of(registry, name="TWO")["checked"] == 1
    assert two.is_sound


def test_no_models_are_fine(registry: ListenerClient) -> None:
    assert report_of(registry)["ok"] is True


def test_one_flipped_bit_with_its_time_kept_is_found(registry: ListenerClient, audited: Any) -> None:
    sound, flipped = promoted("sound"), promoted("flipped")
    flip_byte(Path(flipped.path))
    report = report_of(registry)
    assert report["ok"] is False
    assert [(m["name"], m["status"]) for m in report["models"]] == [
        ("flipped", "failed"),
        ("sound", "verified"),
    ]
    assert report["models"][0]["actual"] not in (None, flipped.sha256)
    event = audited("registry.model:integrity")[0]
    assert (event["outcome"], event["detail"]["expected"]) == ("failed", flipped.sha256)
    assert Artifact.objects.get(pk=flipped.pk).status == "failed"
    assert Artifact.objects.get(pk=sound.pk).status == "promoted"


@pytest.mark.parametrize("damage", ["gone", "a link", "a folder", "a fifo", "longer"])
def test_other_damage_is_found(registry: ListenerClient, damage: str) -> None:
    path = Path(promoted().path)
    data = path.read_bytes()
    path.unlink()
    match damage:
        case "a link":
            (path.parent / "copy").write_bytes(data)
            path.symlink_to("copy")
        case "a folder":
            path.mkdir()
        case "a fifo":
            os.mkfifo(path)
        case "longer":
            path.write_bytes(data + b"\0")
    status = report_of(registry)["models"][0]["status"]
    assert status == ("missing" if damage == "gone" else "failed")
    assert Artifact.objects.get().status == "failed"


def test_a_failed_model_stays_failed_when_its_bytes_come_back(registry: ListenerClient) -> None:
    row = promoted()
    data = Path(row.path).read_bytes()
    flip_byte(Path(row.path))
    report_of(registry)
    Path(row.path).parent.mkdir()
    Path(row.path).write_bytes(data)
    report = report_of(registry)
    assert (report["ok"], report["models"][0]["status"]) == (False, "failed")
    assert Artifact.objects.get().status == "failed"


def test_a_changed_file_goes_back_to_quarantine(registry: ListenerClient) -> None:
    row = promoted("tiny")
    flip_byte(Path(row.path))
    changed = Path(row.path).read_bytes()
    actual = report_of(registry)["models"][0]["actual"]
    item = QuarantineItem.objects.get()
    assert (item.name, item.status, item.sha256) == ("tiny", "refused", actual)
    assert "changed after it was promoted" in item.reason
    assert item.file.read_bytes() == changed
    assert not Path(row.path).exists()


def test_two_names_of_changed_bytes_both_go_out_of_use(registry: ListenerClient, audited: Any) -> None:
    first, second = promoted("one", data=b"same"), promoted("two", data=b"same")
    flip_byte(Path(first.path))
    report = report_of(registry)
    assert [m["status"] for m in report["models"]] == ["failed", "failed"]
    assert set(Artifact.objects.values_list("status", flat=True)) == {"failed"}
    assert [event["target"] for event in audited("registry.model:integrity")] == ["model:one", "model:two"]
    assert QuarantineItem.objects.count() == 1
    assert second.path == first.path


def test_the_changed_tensor_is_named(registry: ListenerClient) -> None:
    data = small_gguf()
    row = promoted("real", data=data)
    with Path(row.path).open("rb") as file:
        manifest = inspect_file(file.fileno()).manifest
    assert manifest is not None
    manifest.write(store.manifest_path(row.sha256))
    flip_byte(Path(row.path), len(data) - 40)
    tensors = report_of(registry)["models"][0]["tensors"]
    assert (tensors["failed"], tensors["changed"]) == (1, ["output.weight"])


@pytest.mark.parametrize(
    "forged", ["another digest", "another name", "no signature", "nothing", "other verdicts"]
)
def test_a_model_without_its_own_record_is_out_of_use(registry: ListenerClient, forged: str) -> None:
    row, other = promoted("tiny"), promoted("other")
    record = dict(row.record)
    match forged:
        case "another digest":
            row.sha256 = other.sha256
        case "another name":
            record = other.record
        case "no signature":
            record["signatures"] = []
        case "nothing":
            record = {}
        case "other verdicts":
            record["payload"] = other.record["payload"]
    Artifact.objects.filter(pk=row.pk).update(record=record, sha256=row.sha256)
    assert registry.get("/v1/model/tiny").json()["status"] == "failed"
    report = report_of(registry, name="tiny")
    assert report["models"][0]["status"] == "failed"
    assert Artifact.objects.get(pk=row.pk).status == "failed"


def test_a_failed_model_holds_no_name(registry: ListenerClient) -> None:
    row = promoted("tiny")
    flip_byte(Path(row.path))
    report_of(registry)
    again = held("tiny", b"good bytes")
    assert registry.send("POST", f"/v1/quarantine/{again.pk}/promote", {}).status_code == 200
    assert Artifact.objects.get().sha256 == again.sha256


async def test_a_failed_model_leaves_the_engines_memory(registry: ListenerClient, engine: EchoEngine) -> None:
    row = await sync_to_async(promoted)()
    await engine.load(ModelFile(row.name, row.path, row.sha256))
    flip_byte(Path(row.path))
    await sync_to_async(report_of)(registry)
    assert (await engine.status()).model is None


def test_the_background_check_reports_the_same(engine: EchoEngine) -> None:
    flip_byte(Path(promoted().path))
    job = Job.objects.create(kind="registry.verify", state="running")
    report = verify(JobContext(job, threading.Event()))
    assert report is not None
    assert report["ok"] is False
    assert Artifact.objects.get().status == "failed"


def test_progress_counts_over_all_models() -> None:
    promoted("one", data=b"a" * 100)
    promoted("two", data=b"b" * 300)
    told: list[tuple[float, str]] = []
    integrity.verify_all(lambda fraction, name: told.append((fraction, name)))
    assert told == [(0.25, "one"), (1.0, "two")]


def test_it_runs_as_a_job_when_asked(registry: ListenerClient) -> None:
    answer = registry.send("POST", "/v1/model/verify-manifest?async=true", {})
    assert answer.status_code == 202
    job = Job.objects.get()
    assert str(job.pk) == answer.json()["job"]
    shown = registry.send("GET", f"/v1/jobs/{job.pk}")
    assert (shown.status_code, shown.json()["state"]) == (200, "queued")


def test_a_job_is_shown_to_who_asked_for_it(cast: Cast, registry: ListenerClient) -> None:
    job = registry.send("POST", "/v1/model/verify-manifest?async=true", {}).json()["job"]
    assert program(key_of(cast.member, "read"), "registry").send("GET", f"/v1/jobs/{job}").status_code == 404


async def test_it_streams_its_progress(cast: Cast, engine: EchoEngine) -> None:
    await sync_to_async(promoted)()
    async with caller(await sync_to_async(key_of)(cast.operator, "models"), "registry") as client:
        answer = await client.post(
            "/v1/model/verify-manifest", json={}, headers={"Accept": "text/event-stream"}
        )
    events = events_of(answer.text)
    assert [name for name, _data in events] == ["message", "done"]
    assert events[0][1] == {"progress": 1.0, "model": "tiny"}
    assert events[1][1]["ok"] is True


async def test_a_stream_that_fails_says_so_and_ends(
    cast: Cast, engine: EchoEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lock(*_args: Any, **_kwargs: Any) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr("registry.api.verify_all", lock)
    async with caller(await sync_to_async(key_of)(cast.operator, "models"), "registry") as client:
        answer = await client.post(
            "/v1/model/verify-manifest", json={}, headers={"Accept": "text/event-stream"}
        )
    events = events_of(answer.text)
    assert [(name, data["code"]) for name, data in events] == [("error", "database.unavailable")]


# --- deleting ----------------------------------------------------------------------------------------


async def test_a_loaded_model_is_not_deleted_unless_forced(
    registry: ListenerClient, engine: EchoEngine, audited: Any
) -> None:
    row = await sync_to_async(promoted)()
    await engine.load(ModelFile(row.name, row.path, row.sha256))
    send = sync_to_async(registry.send)
    for query in ("", "?force=1", "?force=false", "?force="):
        answer = await send("DELETE", f"/v1/model/TINY{query}")
        assert (answer.status_code, answer.json()["code"]) == (409, "model.loaded")
    assert Path(row.path).exists()
    assert (await send("DELETE", "/v1/model/tiny?force=true")).status_code == 200
    assert (await engine.status()).model is None
    assert not Path(row.path).exists()
    assert len(await sync_to_async(audited)("registry.model:deleted")) == 1


def test_an_engine_that_is_down_has_nothing_loaded(registry: ListenerClient, engine: EchoEngine) -> None:
    promoted()
    engine.dead = True
    assert registry.send("DELETE", "/v1/model/tiny").status_code == 200
    assert not Artifact.objects.exists()


# --- clearing up -------------------------------------------------------------------------------------


def test_the_sweep_removes_what_nobody_owns_and_only_when_it_is_old() -> None:
    root = Path(django_settings.QUARANTINE_DIR)
    kept, waits = submitted("kept"), held("waits", b"other")
    leftover = incoming()
    (root / "orphan").mkdir()
    (root / "orphan" / "artifact").write_bytes(b"x")
    listed, unlisted = promoted("listed"), store.store_path("0" * 64)
    unlisted.parent.mkdir()
    unlisted.write_bytes(b"published, and then the power failed")
    assert clear_up() == {"removed": 0, "expired": 0}
    assert clear_up(now=time.time() + 25 * 3600) == {"removed": 3, "expired": 0}
    assert not unlisted.parent.exists()
    assert Path(listed.path).exists()
    assert not (root / "incoming" / leftover).exists()
    assert not (root / "orphan").exists()
    assert kept.file.exists()
    assert waits.file.exists()


def test_the_sweep_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"x")
    (Path(django_settings.QUARANTINE_DIR) / "link").symlink_to(tmp_path)
    clear_up(now=time.time() + 25 * 3600)
    assert (tmp_path / "precious").exists()


def test_a_state_that_moved_meanwhile_is_a_conflict() -> None:
    item = submitted()
    stale = type(item).objects.get(pk=item.pk)
    services.move_item(item, ItemStatus.SCANNING, actor="a")
    with pytest.raises(Conflict):
        services.move_item(stale, ItemStatus.SCANNING, actor="b")


# --- what must not happen to a model ------------------------------------------------------------------


def test_changed_bytes_never_come_back_under_the_old_name_and_source(registry: ListenerClient) -> None:
    row = promoted("tiny", data=small_safetensors(), chat=False, format="safetensors")
    flip_byte(Path(row.path), len(small_safetensors()) - 2)
    report_of(registry)
    item = QuarantineItem.objects.get()
    assert item.pin == row.sha256
    services.rescan(item=item, actor="user:1")
    job = Job.objects.get(kind="registry.scan")
    scan_item(JobContext(job, threading.Event()), item_id=str(item.pk))
    item.refresh_from_db()
    assert item.status == "refused"
    assert item.stages.get(name="integrity").verdict == "refuse"
    assert not Artifact.objects.filter(status="promoted").exists()


def test_a_machine_that_cannot_read_just_now_costs_no_model(
    registry: ListenerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy, changed = promoted("busy"), promoted("changed")
    flip_byte(Path(changed.path))

    def broken(sha256: str, parts: list[str], read: Any) -> str:
        if sha256 == busy.sha256:
            raise OSError(errno.EIO, "Input/output error")
        return "0" * 64

    with monkeypatch.context() as during:
        during.setattr(store, "digest_of", broken)
        report = report_of(registry)
    assert [(m["name"], m["status"]) for m in report["models"]] == [("busy", "failed"), ("changed", "failed")]
    assert Artifact.objects.get(pk=busy.pk).status == "promoted"
    assert Artifact.objects.get(pk=changed.pk).status == "failed"
    clear_up(now=time.time() + 25 * 3600)
    assert Path(busy.path).exists()


def test_too_many_open_files_are_no_fault_of_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    row = promoted()

    def full(*_args: Any, **_kwargs: Any) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    root = Path(django_settings.MODELS_DIR)
    before = os.open
    with monkeypatch.context() as during:
        during.setattr(os, "open", lambda path, *a, **k: full() if k.get("dir_fd") else before(path, *a, **k))
        with pytest.raises(Unreadable):
            open_below(root, row.path)


def test_a_failed_model_is_unloaded_before_the_rest_is_read(engine: EchoEngine) -> None:
    first, second = promoted("a"), promoted("b")
    flip_byte(Path(first.path))
    order: list[str] = []
    integrity.verify_all(
        lambda _done, name: order.append(name), unload=lambda name: order.append(f"unload {name}")
    )
    assert order.index("unload a") < order.index("b")
    assert second.is_sound


def test_a_vanished_model_can_be_imported_again(registry: ListenerClient) -> None:
    item = held("tiny", b"good bytes")
    registry.send("POST", f"/v1/quarantine/{item.pk}/promote", {})
    Path(Artifact.objects.get().path).unlink()
    assert report_of(registry)["models"][0]["status"] == "missing"
    again = held("tiny", b"good bytes")
    answer = registry.send("POST", f"/v1/quarantine/{again.pk}/promote", {})
    assert answer.status_code == 200, answer.content
