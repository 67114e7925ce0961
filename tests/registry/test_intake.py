"""Taking files in: one or many, packed or not, with a signature, and what a crash or a refusal leaves behind."""

import hashlib
import json
import os
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings

from registry import intake, policies
from registry.models import QuarantineItem
from registry.policy import Policy
from registry.quarantine.unpack import UnpackRefused
from secai_site.kernel.errors import InvalidRequest, ServiceError
from secai_site.kernel.files import PathRefused, set_digest
from secai_site.kernel.jobs.models import Job
from tests.support.builders import incoming, promoted
from tests.support.cast import Cast, key_of
from tests.support.client import program
from tests.support.hostile_models import small_gguf
from tests.support.pipelines import Files, sd15, write_files
from tests.support.zips import hostile_zips, zipped

pytestmark = pytest.mark.django_db

TWO = {"a.safetensors": b"one", "unet/b.safetensors": b"two"}
HOSTILE = {case.name: case for case in hostile_zips()}


def quarantine() -> Path:
    return Path(django_settings.QUARANTINE_DIR)


def left() -> set[str]:
    """What lies in the incoming folder and in quarantine."""
    return {str(path.relative_to(quarantine())) for path in quarantine().rglob("*")} - {"incoming"}


def folder(files: Files) -> str:
    """A folder in the incoming folder; returns its bare name."""
    name = uuid.uuid4().hex
    (quarantine() / "incoming" / name).mkdir()
    return write_files(quarantine() / "incoming" / name, files).name


def take(path: str, **changes: Any) -> QuarantineItem:
    wish = {
        "path": path,
        "name": "tiny",
        "filename": "tiny.zip",
        "source": "local",
        "actor": "user:1",
    } | changes
    return intake.submit(**wish)


# --- folders -----------------------------------------------------------------------------------------


def test_a_folder_is_taken_in_as_one_model(audited: Any) -> None:
    item = take(folder(TWO), filename="my folder")
    digests = {path: hashlib.sha256(data).hexdigest() for path, data in TWO.items()}
    assert item.files == [
        {"path": path, "sha256": digests[path], "size_bytes": 3} for path in ("a.safetensors", "unet/b.safetensors")
    ]  # fmt: skip
    assert (item.sha256, item.size_bytes, item.filename) == (set_digest(digests.items()), 6, "my folder")
    assert {path: (item.file / path).read_bytes() for path in TWO} == TWO
    assert {(item.file / path).stat().st_mode & 0o777 for path in TWO} == {0o400}
    assert os.listdir(quarantine() / "incoming") == []
    assert os.listdir(item.folder) == ["artifact"]
    assert Job.objects.get().arguments == {"item_id": str(item.pk)}
    assert audited("registry.file:submitted")[0]["detail"] == {
        "sha256": item.sha256,
        "size_bytes": 6,
        "files": 2,
    }


@pytest.mark.parametrize("path", ["model.gguf", "deep/er/model.gguf"])
def test_a_folder_with_a_single_file_is_that_file(path: str) -> None:
    item = take(folder({path: b"bytes"}), filename="my folder", name="")
    assert (item.files, item.filename, item.name) == ([], "model.gguf", "my-folder")
    assert item.sha256 == hashlib.sha256(b"bytes").hexdigest()
    assert item.file.read_bytes() == b"bytes"
    assert left() == {str(item.pk), f"{item.pk}/artifact"}


def link(place: Path) -> None:
    (place / "link").symlink_to("/etc/passwd")


def link_to_a_folder(place: Path) -> None:
    (place / "link").symlink_to("/etc")


def fifo(place: Path) -> None:
    os.mkfifo(place / "pipe")


def line_end(place: Path) -> None:
    (place / "a\nb.gguf").write_bytes(b"x")


def no_unicode(place: Path) -> None:
    (Path(os.fsdecode(os.fsencode(place) + b"/\xff.gguf"))).write_bytes(b"x")


@pytest.mark.parametrize("spoil", [link, link_to_a_folder, fifo, line_end, no_unicode])
def test_a_folder_with_something_else_in_it_is_refused(spoil: Any) -> None:
    name = folder(TWO)
    spoil(quarantine() / "incoming" / name / "unet")
    before = left()
    with pytest.raises(PathRefused):
        take(name)
    assert left() == before
    assert not QuarantineItem.objects.exists()


@pytest.mark.parametrize(
    ("files", "status"),
    [
        ({}, 404),
        ({f"{n}.gguf": b"" for n in range(intake.MAX_FILES + 1)}, 400),
        ({f"{'a/' * (intake.MAX_DEPTH + 1)}{n}.gguf": b"" for n in range(2)}, 400),
    ],
    ids=["empty", "many", "deep"],
)
def test_a_folder_that_is_no_model_is_refused(files: Files, status: int) -> None:
    name = folder(files)
    before = left()
    with pytest.raises(ServiceError) as refusal:
        take(name)
    assert refusal.value.http_status == status
    assert left() == before
    assert not QuarantineItem.objects.exists()


@pytest.mark.parametrize("count", [2, intake.MAX_FILES])
def test_as_many_files_as_may_be_and_as_deep(count: int) -> None:
    assert len(take(folder({f"{'a/' * intake.MAX_DEPTH}{n}.gguf": b"" for n in range(count)})).files) == count


@pytest.mark.parametrize("path", [".", "..", "./", "../", "", "x/..", "/", "a\0b"])
def test_neither_the_incoming_folder_nor_quarantine_is_taken_in(path: str, cast: Cast) -> None:
    registry = program(key_of(cast.operator, "models"), "registry")
    other = incoming(b"somebody's upload")
    before = left()
    with pytest.raises(ServiceError):
        take(path)
    body = {"path": path, "name": "x", "filename": "x", "source": "local"}
    assert registry.send("POST", "/v1/quarantine", body).status_code == 400
    assert left() == before == {f"incoming/{other}"}


def test_a_link_to_a_folder_is_not_taken_in() -> None:
    name = folder(TWO)
    (quarantine() / "incoming" / "link").symlink_to(name)
    with pytest.raises(PathRefused):
        take("link")
    assert (quarantine() / "incoming" / name / "a.safetensors").exists()


# --- zips --------------------------------------------------------------------------------------------


def test_the_zip_of_a_pipeline_is_unpacked() -> None:
    item = take(incoming(zipped(sd15(), top="sd15/")), filename="sd15.zip")
    assert {file["path"] for file in item.files} == set(sd15())
    assert {path: (item.file / path).read_bytes() for path in sd15()} == sd15()
    assert os.listdir(quarantine() / "incoming") == []


def test_the_zip_of_one_model_is_that_model() -> None:
    item = take(incoming(zipped({"folder/tiny.gguf": small_gguf()})), filename="tiny.zip")
    assert (item.files, item.filename) == ([], "tiny.gguf")
    assert item.file.read_bytes() == small_gguf()
    assert os.listdir(quarantine() / "incoming") == []


def test_any_other_zip_stays_a_file_for_the_format_gate() -> None:
    data = zipped({"archive/data.pkl": b"\x80\x04N.", "archive/x.gguf": b"x"})
    assert take(incoming(data)).file.read_bytes() == data


@pytest.mark.parametrize("name", ["many", *sorted(HOSTILE)[::6]])
def test_a_hostile_zip_is_refused_and_nothing_of_it_stays(name: str) -> None:
    many = zipped({f"{n}.gguf": b"" for n in range(intake.MAX_FILES + 1)})
    path = incoming(many if name == "many" else HOSTILE[name].data)
    policies.save(document=Policy(max_size_bytes=1 << 20).document(), base=0, actor="user:1")
    try:
        item = take(path)
    except InvalidRequest as error:
        assert name == "many" or isinstance(error, UnpackRefused)
        assert left() == {f"incoming/{path}"}  # what was uploaded is its uploader's to discard
        assert not QuarantineItem.objects.exists()
    else:  # not taken for the zip of a set; the format gate refuses it
        assert item.file.read_bytes() == HOSTILE[name].data


# --- signatures and names ----------------------------------------------------------------------------


@pytest.mark.parametrize("build", [lambda: incoming(b"model"), lambda: folder(TWO)], ids=["file", "folder"])
def test_a_signature_comes_along(build: Any) -> None:
    item = take(build(), signature=incoming(b"a signature"), pin="a" * 64)
    assert item.signature.read_bytes() == b"a signature"
    assert item.signature.stat().st_mode & 0o777 == 0o400
    item.refresh_from_db()
    assert item.pin == "a" * 64
    assert os.listdir(quarantine() / "incoming") == []


@pytest.mark.parametrize("what", ["too large", "missing", "outside", "a link", "a folder"])
def test_a_signature_that_is_none_is_refused_and_nothing_of_it_stays(what: str) -> None:
    path = incoming(zipped(TWO))
    (quarantine() / "incoming" / "link").symlink_to("/etc/passwd")
    signature = {
        "too large": incoming(b"x" * (intake.MAX_SIGNATURE + 1)), "missing": "missing", "outside": "../x",
        "a link": "link", "a folder": folder(TWO),
    }[what]  # fmt: skip
    before = left()
    with pytest.raises(ServiceError):
        take(path, signature=signature)
    assert left() == before
    assert not QuarantineItem.objects.exists()


@pytest.mark.parametrize("name", ["tiny", "TINY"])
def test_a_taken_name_is_refused_before_anything_is_moved(name: str) -> None:
    promoted("tiny")
    path = folder(TWO)
    before = left()
    with pytest.raises(InvalidRequest) as refusal:
        take(path, name=name)
    assert refusal.value.error_code == "model.name_taken"
    assert left() == before


# --- crashes -----------------------------------------------------------------------------------------


class Crash(BaseException):
    """The end of the process, as far as this code can tell."""


def crash(*_arguments: Any, **_named: Any) -> None:
    raise Crash


@pytest.mark.parametrize(
    ("step", "adopted"), [("_enter", 1), ("_write_note", 0), ("publish", 0), ("sha256_of", 0), ("record", 1)]
)
def test_what_was_complete_when_it_crashed_is_entered_once(
    monkeypatch: pytest.MonkeyPatch, step: str, adopted: int, audited: Any
) -> None:
    path = incoming(b"model")
    with monkeypatch.context() as broken, pytest.raises(Crash):
        broken.setattr(intake, step, crash)
        take(path, pin="a" * 64)
    assert not QuarantineItem.objects.exists()
    assert intake.adopt() == adopted
    assert intake.adopt() == 0
    assert QuarantineItem.objects.count() == Job.objects.count() == adopted
    assert len(audited("registry.file:submitted")) == adopted
    if adopted:
        item = QuarantineItem.objects.get()
        assert (item.name, item.filename, item.submitted_by) == ("tiny", "tiny.zip", "user:1")
        assert (item.sha256, item.pin) == (hashlib.sha256(b"model").hexdigest(), "a" * 64)
        assert os.listdir(item.folder) == ["artifact"]
    else:
        assert (quarantine() / "incoming" / path).exists()


@pytest.mark.parametrize(("step", "adopted"), [("_enter", 1), ("_write_note", 0), ("sync_folder", 0)])
def test_a_folder_is_entered_whole_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch, step: str, adopted: int
) -> None:
    path = folder(TWO)
    with monkeypatch.context() as broken, pytest.raises(Crash):
        broken.setattr(intake, step, crash)
        take(path)
    assert intake.adopt() == adopted
    assert [len(item.files) for item in QuarantineItem.objects.all()] == [2] * adopted
    assert (quarantine() / "incoming" / path).exists() is not bool(adopted)


def test_a_note_beside_a_row_is_cleared_away(monkeypatch: pytest.MonkeyPatch) -> None:
    item = take(incoming(b"model"))
    intake._write_note(item)
    assert intake.adopt() == 0
    assert os.listdir(item.folder) == ["artifact"]
    assert QuarantineItem.objects.count() == 1


GOOD_NOTE = {
    "name": "tiny", "filename": "tiny", "sha256": "a" * 64, "size_bytes": 1, "files": [], "source": "local",
    "pin": "", "submitted_by": "user:1",
}  # fmt: skip


@pytest.mark.parametrize(
    "note",
    [
        b"", b"{", b"[]", b"null", b"7", b"\xff\xfe", b"{}", json.dumps(GOOD_NOTE)[:-9].encode(),
        json.dumps(GOOD_NOTE | {"status": "held"}).encode(), json.dumps(GOOD_NOTE | {"id": 1}).encode(),
        json.dumps({name: value for name, value in GOOD_NOTE.items() if name != "sha256"}).encode(),
    ],
)  # fmt: skip
def test_a_broken_note_is_ignored(note: bytes) -> None:
    place = quarantine() / str(uuid.uuid4())
    place.mkdir()
    (place / "artifact").write_bytes(b"x")
    (place / intake.NOTE).write_bytes(note)
    assert intake.adopt() == 0
    assert not QuarantineItem.objects.exists()
    (place / intake.NOTE).write_text(json.dumps(GOOD_NOTE))
    assert intake.adopt() == 1


def test_a_note_in_a_folder_of_another_name_is_ignored() -> None:
    place = quarantine() / "not-an-item"
    place.mkdir()
    (place / "artifact").write_bytes(b"x")
    (place / intake.NOTE).write_text(json.dumps(GOOD_NOTE))
    assert intake.adopt() == 0


def test_a_pin_of_a_zip_names_the_zip() -> None:
    data = zipped(sd15(), top="sd15/")
    digest = hashlib.sha256(data).hexdigest()
    item = intake.submit(
        path=incoming(data), name="", filename="sd.zip", source="local", actor="user:1", pin=digest
    )
    assert (item.pin, bool(item.files)) == ("", True)
    name = incoming(data)
    with pytest.raises(ServiceError) as refusal:
        intake.submit(
            path=name, name="other", filename="sd.zip", source="local", actor="user:1", pin="0" * 64
        )
    assert refusal.value.error_code == "upload.digest"
