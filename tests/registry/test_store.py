"""The store: an entry is there whole or not at all, and nobody loses bytes that a row names."""

import hashlib
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.utils import timezone

from registry import policies, services, store
from registry.integrity import verify_all
from registry.models import Artifact, PolicyVersion, QuarantineItem, StageResult
from registry.policy import Policy
from registry.quarantine.formats.manifest import Manifest
from registry.record import is_record_of
from registry.sweep import sweep
from secai_site.kernel.errors import Conflict, NotFound
from tests.registry.test_intake import folder, take
from tests.registry.test_promotion import at_once, wish
from tests.registry.test_scan import scan
from tests.support.builders import flip_byte, held, promoted, submitted
from tests.support.cast import Cast, key_of
from tests.support.client import ListenerClient, program
from tests.support.hostile_sets import safetensors_set
from tests.support.pipelines import Files, sd15

pytestmark = pytest.mark.django_db

DEEP = {"model_index.json": b"{}", "a/b/c.safetensors": b"weights", "unet/d.safetensors": b"more"}


@pytest.fixture
def registry(cast: Cast) -> ListenerClient:
    """A program with the scope `models` at the registry's door."""
    return program(key_of(cast.operator, "read", "models"), "registry")


def held_set(files: Files = DEEP, name: str = "tiny") -> QuarantineItem:
    """A set that passed every stage (as if) and waits for promotion."""
    item = take(folder(files), name=name)
    other = held("other", name.encode())
    for stage in other.stages.all():
        stage.pk, stage.item, stage.sha256 = None, item, item.sha256
        stage.save(force_insert=True)
    services.drop(item=other, actor="user:1")
    QuarantineItem.objects.filter(pk=item.pk).update(status="held")
    StageResult.objects.filter(item=item, name="format_gate").update(
        evidence={"format": "safetensors", "facts": {"tensor_count": 2}}
    )
    item.refresh_from_db()
    return item


def published(files: Files = DEEP, name: str = "tiny") -> Artifact:
    return services.promote_item(item=held_set(files, name), actor="user:1")


def entries() -> set[str]:
    """The names in the store."""
    return set(os.listdir(django_settings.MODELS_DIR)) - {".lock"}


# --- sets --------------------------------------------------------------------------------------------


def test_a_set_is_promoted_by_its_digest_and_published_as_a_folder(registry: ListenerClient) -> None:
    item = held_set()
    answer = registry.send("POST", "/v1/promote", wish(item, format="safetensors"))
    assert answer.status_code == 200, answer.content
    body = answer.json()
    root = Path(body["path"])
    assert root == store.store_path(item.sha256)
    assert {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    } == DEEP
    assert {path.stat().st_mode & 0o777 for path in root.rglob("*") if path.is_file()} == {0o400}
    assert {path.stat().st_mode & 0o777 for path in (root, root.parent, root / "a", root / "a/b")} == {0o700}
    assert body["files"] == item.files
    assert not item.folder.exists()
    assert is_record_of(Artifact.objects.get().record, name="tiny", sha256=item.sha256)


@pytest.mark.parametrize("changes", [{"sha256": hashlib.sha256(b"{}").hexdigest()}, {"sha256": "0" * 64}])
def test_a_set_is_not_promoted_by_another_digest(registry: ListenerClient, changes: dict[str, Any]) -> None:
    item = held_set()
    answer = registry.send("POST", "/v1/promote", wish(item, format="safetensors", **changes))
    assert (answer.status_code, answer.json()["code"]) == (400, "promote.mismatch")
    assert entries() == set()


def test_a_set_that_changed_after_its_scan_is_not_promoted() -> None:
    item = held_set()
    flip_byte(item.file / "a/b/c.safetensors")
    with pytest.raises(services.NotScanned):
        services.promote_item(item=item, actor="user:1")
    assert (entries(), Artifact.objects.count()) == (set(), 0)


def test_a_file_put_beside_a_scanned_set_is_not_published() -> None:
    item = held_set()
    (item.file / "evil.py").write_bytes(b"print()")
    artifact = services.promote_item(item=item, actor="user:1")
    assert not (Path(artifact.path) / "evil.py").exists()
    assert verify_all(lambda _fraction, _name: None)["ok"]


def test_a_scanned_set_has_its_manifest_in_the_store() -> None:
    item = take(folder(safetensors_set()), filename="a folder")
    assert scan(item).status == "promoted", item.reason
    artifact = Artifact.objects.get()
    manifest = store.manifest_path(artifact.sha256)
    assert Manifest.read(manifest).root == artifact.gguf_guard_manifest
    assert manifest.stat().st_mode & 0o777 == 0o400
    assert entries() == {artifact.sha256}


def test_the_same_set_under_two_names_lies_there_once() -> None:
    first, second = published(name="one"), published(name="two")
    assert first.path == second.path
    services.delete_model(artifact=first, actor="user:1")
    assert (Path(second.path) / "a/b/c.safetensors").read_bytes() == b"weights"
    services.delete_model(artifact=second, actor="user:1")
    assert entries() == set()


# --- verifying sets ----------------------------------------------------------------------------------


def changed(root: Path) -> None:
    flip_byte(root / "a/b/c.safetensors")


def missing(root: Path) -> None:
    (root / "a/b/c.safetensors").unlink()


def added(root: Path) -> None:
    (root / "unet/evil.py").write_bytes(b"print()")


def renamed(root: Path) -> None:
    (root / "a/b/c.safetensors").rename(root / "a/b/d.safetensors")


def swapped(root: Path) -> None:
    one, other = root / "a/b/c.safetensors", root / "unet/d.safetensors"
    one.rename(root / "x")
    other.rename(one)
    (root / "x").rename(other)


def linked(root: Path) -> None:
    (root / "link").symlink_to("/etc/passwd")


def linked_folder(root: Path) -> None:
    (root / "link").symlink_to("/etc")


def gone(root: Path) -> None:
    root.rename(root.parent / "elsewhere")


@pytest.mark.parametrize(
    ("spoil", "status"),
    [
        (changed, "failed"), (missing, "missing"), (added, "failed"), (renamed, "missing"), (swapped, "failed"),
        (linked, "failed"), (linked_folder, "failed"), (gone, "missing"),
    ],
)  # fmt: skip
def test_a_set_that_is_not_as_promoted_is_taken_out_of_use(spoil: Any, status: str, audited: Any) -> None:
    artifact = published()
    assert verify_all(lambda _fraction, _name: None)["models"][0]["status"] == "verified"
    spoil(Path(artifact.path))
    report = verify_all(lambda _fraction, _name: None)
    assert (report["ok"], report["models"][0]["status"]) == (False, status)
    artifact.refresh_from_db()
    assert artifact.status == "failed"
    assert audited("registry.model:integrity")[0]["outcome"] == "failed"
    back = QuarantineItem.objects.filter(status="refused")
    assert all(item.file.is_dir() and not store.store_path(artifact.sha256).exists() for item in back)


def test_a_damaged_set_is_not_promoted_under_another_name() -> None:
    added(Path(published().path))
    with pytest.raises(Conflict):
        published(name="two")
    assert Artifact.objects.count() == 1


def test_every_name_of_changed_bytes_goes_out_of_use_at_once(audited: Any) -> None:
    one, two = published(name="one"), published(name="two")
    assert services.fail_model(artifact=one, actual="0" * 64)
    assert not services.fail_model(artifact=two, actual="0" * 64)
    assert set(Artifact.objects.values_list("status", flat=True)) == {"failed"}
    assert [event["target"] for event in audited("registry.model:integrity")] == ["model:one", "model:two"]
    assert QuarantineItem.objects.get(status="refused").file.is_dir()
    assert entries() == set()


# --- crashes and races -------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["sync_folder", "open_below"])
def test_a_promotion_that_crashes_leaves_no_half_entry(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    item = held_set()

    def crash(*_arguments: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as broken, pytest.raises(MemoryError):
        broken.setattr(store if step == "sync_folder" else services, step, crash)
        services.promote_item(item=item, actor="user:1")
    assert (entries(), Artifact.objects.count()) == (set(), 0)
    item.refresh_from_db()
    assert services.promote_item(item=item, actor="user:1").name == "tiny"


def test_an_entry_without_a_row_is_completed_by_the_next_try(monkeypatch: pytest.MonkeyPatch) -> None:
    item = held_set()

    def crash(*_arguments: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as broken, pytest.raises(MemoryError):
        broken.setattr(services, "_enter", crash)
        services.promote_item(item=item, actor="user:1")
    assert (entries(), Artifact.objects.count()) == ({item.sha256}, 0)
    assert Path(services.promote_item(item=item, actor="user:1").path).is_dir()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("round", range(3))
def test_promoting_and_deleting_the_same_bytes_at_once_leaves_no_row_without_bytes(round: int) -> None:
    first = services.promote_item(item=held("one", b"same"), actor="user:1")
    item = held("two", b"same")
    results = at_once(
        lambda: services.delete_model(artifact=first, actor="user:1"),
        lambda: services.promote_item(item=item, actor="user:1"),
    )
    assert isinstance(results[1], Artifact), results
    left = Artifact.objects.get()
    assert (left.name, Path(left.path).read_bytes()) == ("two", b"same")
    assert verify_all(lambda _fraction, _name: None)["ok"]


def test_what_is_not_there_cannot_be_hashed() -> None:
    with pytest.raises(NotFound):
        store.digest_of("0" * 64, ["a"])
    assert store.take_out("0" * 64, Path(django_settings.QUARANTINE_DIR) / "x" / "artifact") is False


# --- clearing up -------------------------------------------------------------------------------------


def refused_since(days: float) -> QuarantineItem:
    item = submitted(f"refused-{days}".replace(".", "-"), str(days).encode())
    since = timezone.now() - timedelta(days=days)
    QuarantineItem.objects.filter(pk=item.pk).update(status="refused", updated_at=since)
    return item


def test_refused_files_stay_as_long_as_the_policy_says(audited: Any) -> None:
    policies.save(document=Policy(keep_refused_days=7).document(), base=0, actor="user:1")
    young, old, waiting = refused_since(6.9), refused_since(7.1), submitted("waiting")
    QuarantineItem.objects.filter(pk=waiting.pk).update(updated_at=timezone.now() - timedelta(days=99))
    assert sweep()["expired"] == 1
    assert (young.folder.exists(), old.folder.exists(), waiting.folder.exists()) == (True, False, True)
    assert set(QuarantineItem.objects.values_list("pk", flat=True)) == {young.pk, waiting.pk}
    event = audited("registry.file:dropped")[0]
    assert (event["actor"], event["target"]) == ("service:sweep", f"quarantine:{old.pk}")


def test_nothing_expires_by_a_policy_that_cannot_be_read() -> None:
    item = refused_since(9999)
    PolicyVersion.objects.create(number=1, document={}, sha256="", author="user:1")
    with pytest.raises(policies.PolicyBroken):
        sweep()
    assert item.folder.exists()


def test_what_a_crash_left_goes_and_what_a_row_names_stays() -> None:
    kept = published()
    for name in (".staging-x", "0" * 64):
        (Path(django_settings.MODELS_DIR) / name / "model").mkdir(parents=True)
    failed = promoted("failed", data=b"failed")
    Artifact.objects.filter(pk=failed.pk).update(status="failed")
    far = timezone.now().timestamp() + 2 * 3600
    assert sweep(timezone.now().timestamp())["removed"] == 0
    assert sweep(far)["removed"] == 3
    assert entries() == {kept.sha256}
    assert verify_all(lambda _fraction, _name: None, name="tiny")["ok"]


def test_a_pipeline_goes_the_whole_way() -> None:
    item = scan(take(folder(sd15()), filename="sd15"))
    assert item.status == "promoted", item.reason
    artifact = Artifact.objects.get()
    assert (artifact.format, artifact.facts["purpose"]) == ("diffusion", "pictures")
    assert verify_all(lambda _fraction, _name: None)["ok"]
