"""Uploads: written and hashed while they arrive, and gone without a trace when anything is wrong."""

import errno
import hashlib
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings as django_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.models import QuarantineItem
from secai_site.kernel.errors import (
    InvalidRequest,
    NotAllowed,
    NotSignedIn,
    ServiceError,
    StorageFull,
    TooMany,
)
from secai_site.kernel.http.uploads import SCOPE_KEY, IncomingUpload, NotMultipart, ReceivedFile
from tests.support.builders import BOUNDARY, form
from tests.support.cast import Cast, key_of
from tests.support.client import ListenerClient, browser, program
from ui.catalog.uploads import KindRefused, accept_name, admit_upload

TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def receive(folder: Path, body: bytes, *, step: int = 7, announced: int | None = None) -> ReceivedFile:
    """Feed `body` in steps; whatever is refused is aborted, as the server does."""
    upload = IncomingUpload(folder, TYPE, announced)
    try:
        for start in range(0, len(body), step):
            upload.feed(body[start : start + step])
        return upload.finish()
    except ServiceError:
        upload.abort()
        raise


@pytest.mark.parametrize("step", [1, 7, 64, 10**6])
def test_a_file_arrives_whole_with_its_digest_and_fields(tmp_path: Path, step: int) -> None:
    data = bytes(range(256)) * 5 + f"\r\n--{BOUNDARY}x\r\n".encode()
    got = receive(tmp_path, form(("name", None, b"tiny"), ("file", "a.gguf", data)), step=step)
    assert got.path.read_bytes() == data
    assert got.path.stat().st_mode & 0o777 == 0o600
    assert (got.sha256, got.size_bytes) == (hashlib.sha256(data).hexdigest(), len(data))
    assert (got.filename, got.fields) == ("a.gguf", {"name": "tiny"})
    assert got.path.parent == tmp_path


def test_an_empty_file_arrives_too(tmp_path: Path) -> None:
    assert receive(tmp_path, form(("file", "a.gguf", b""))).size_bytes == 0


def named(*filenames: str) -> bytes:
    """A body with a file of each name."""
    return form(*[("file", name, b"x") for name in filenames])


REFUSED: dict[str, tuple[bytes, str]] = {
    "no file": (form(("name", None, b"tiny")), "upload.no_file"),
    "a file without a file name": (form(("file", None, b"data")), "upload.no_file"),
    "the same file twice": (named("d/a", "d/a"), "upload.paths"),
    "two files that differ by case": (named("d/a/x", "d/a/X"), "upload.paths"),
    "two folders that differ by case": (named("d/a/x", "d/A/y"), "upload.paths"),
    "a file where a folder is": (named("d/a", "d/a/b"), "upload.paths"),
    "a path that leads up": (named("d/a", "d/../../b"), "upload.paths"),
    "an absolute path": (named("d/a", "/etc/b"), "upload.paths"),
    "a file without a name": (named("d/a", ""), "upload.paths"),
    "a path of another system": (named("d/a", "d\\\\b"), "upload.paths"),
    "a path that lies too deep": (named("d/a", "d/1/2/3/b"), "upload.paths"),
    "a name with a control character": (named("d/a", "d/b\x1b[2J"), "upload.paths"),
    "a name with hidden direction marks": (named("d/a", "d/b\u202egguf"), "upload.paths"),
    "a name in decomposed form": (named("d/a", "d/e\u0301"), "upload.paths"),
    "a name that is no UTF-8": (named("d/a", "d/b").replace(b"d/b", b"d/\xff"), "upload.paths"),
    "a name that is too long": (named("d/a", "d/" + "b" * 256), "upload.paths"),
    "too many files": (named(*[f"d/{n}" for n in range(501)]), "upload.files"),
    "two signatures": (form(("signature", "a", b"x"), ("signature", "b", b"x")), "upload.signature"),
    "a signature that is none": (form(("signature", "a", b"x" * (2**20 + 1))), "upload.signature"),
    "only a signature": (form(("signature", "a", b"x")), "upload.no_file"),
    "cut off in the second file": (form(("file", "d/a", b"x"), ("file", "d/b", b"y" * 99), end=False)[:-50],
                                   "upload.truncated"),
    "cut off in the file": (form(("file", "a", b"x" * 500), end=False)[:-100], "upload.truncated"),
    "cut off before the end": (form(("file", "a", b"x" * 500), end=False), "upload.truncated"),
    "cut off in a header": (form(("file", "a", b"x"))[:60], "upload.truncated"),
    "another boundary": (form(("file", "a", b"x")).replace(b"--a", b"--b"), "upload.form"),
    "nothing": (b"", "upload.truncated"),
    "too many fields": (form(*[(f"f{n}", None, b"x") for n in range(17)]), "upload.form"),
    "a long field": (form(("name", None, b"x" * 4097)), "upload.form"),
    "a long header": (form(("n" * 9000, None, b"x")), "upload.form"),
    "a field that is no UTF-8": (form(("name", None, b"\xff")), "upload.form"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("step", [5, 10**6])
def test_a_bad_form_is_refused_and_leaves_nothing(tmp_path: Path, case: str, step: int) -> None:
    body, code = REFUSED[case]
    with pytest.raises(InvalidRequest) as caught:
        receive(tmp_path, body, step=step)
    assert caught.value.error_code == code
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "kind",
    ["", "application/json", "multipart/form-data", "multipart/form-data; boundary=", "multipart/mixed; boundary=x",
     "text/plain; boundary=x"],
)  # fmt: skip
def test_other_content_types_are_415(tmp_path: Path, kind: str) -> None:
    with pytest.raises(NotMultipart) as caught:
        IncomingUpload(tmp_path, kind, None)
    assert caught.value.http_status == 415


def test_a_file_that_cannot_fit_is_refused_before_it_comes(tmp_path: Path) -> None:
    with pytest.raises(StorageFull) as caught:
        IncomingUpload(tmp_path, TYPE, 2**60)
    assert (caught.value.http_status, caught.value.error_code) == (507, "storage.full")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("announced", [None, 2000])
def test_a_disk_that_others_fill_meanwhile_is_507_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, announced: int | None
) -> None:
    from secai_site.kernel.http import uploads

    monkeypatch.setattr(uploads, "LOOK_EVERY_BYTES", 500)
    upload = IncomingUpload(tmp_path, TYPE, announced)
    body = form(("file", "a", b"x" * 1800))
    upload.feed(body[:400])
    free = SimpleNamespace(f_bavail=uploads.SPARE_BYTES + 200, f_frsize=1)
    monkeypatch.setattr("secai_site.kernel.http.uploads.os.statvfs", lambda _folder: free)
    upload.feed(body[400:450])
    with pytest.raises(StorageFull):
        upload.feed(body[450:700])
    upload.abort()
    assert list(tmp_path.iterdir()) == []


def test_only_finishing_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    monkeypatch.setattr(
        "secai_site.kernel.http.uploads.os.fsync",
        lambda descriptor: flushed.append(os.readlink(f"/proc/self/fd/{descriptor}")),
    )
    upload = IncomingUpload(tmp_path, TYPE, None)
    upload.feed(form(("signature", "s", b"s"), ("file", "a.gguf", b"x")))
    assert flushed == []
    got = upload.finish()
    assert flushed == [str(got.path), str(got.signature)]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_is_507_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    real, room = os.write, 100

    def write(descriptor: int, data: Any) -> int:
        nonlocal room
        if room <= 0:
            raise OSError(number, os.strerror(number))
        room -= 40
        return real(descriptor, data[:40])

    monkeypatch.setattr("secai_site.kernel.http.uploads.os.write", write)
    with pytest.raises(StorageFull) as caught:
        receive(tmp_path, form(("file", "a", b"x" * 1000)))
    assert caught.value.http_status == 507
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_takes_only_a_part_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    monkeypatch.setattr(
        "secai_site.kernel.http.uploads.os.write", lambda descriptor, data: real(descriptor, data[:3])
    )
    assert receive(tmp_path, form(("file", "a", b"0123456789"))).path.read_bytes() == b"0123456789"


def test_the_file_name_of_the_client_is_no_path(tmp_path: Path) -> None:
    got = receive(tmp_path / ".", form(("file", "../../etc/passwd", b"x")))
    assert got.path.parent == tmp_path
    assert len(os.listdir(tmp_path)) == 1


@given(st.binary(max_size=400), st.integers(1, 50))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
def test_no_body_causes_anything_but_a_refusal(tmp_path: Path, noise: bytes, step: int) -> None:
    good = form(("file", "a", b"data"))
    for body in (noise, good[:40] + noise + good[40:], good + noise):
        try:
            receive(tmp_path, body, step=step).discard()
        except ServiceError as error:
            assert error.error_code.startswith("upload.")
    assert list(tmp_path.iterdir()) == []


# --- several files -----------------------------------------------------------------------------------


def tree(folder: Path) -> dict[str, bytes]:
    """The files below `folder`, by relative path."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("step", [3, 10**6])
def test_a_folder_arrives_with_its_paths_and_its_digest(tmp_path: Path, step: int) -> None:
    files = {
        "model_index.json": b"{}",
        "unet/config.json": b"[1]",
        "unet/w.safetensors": b"x" * 999,
        "vae/0": b"",
    }
    got = receive(tmp_path, form(*[("file", f"sd/{name}", data) for name, data in files.items()]), step=step)
    assert (got.is_folder, got.filename) == (True, "sd")
    assert tree(got.path) == files
    assert got.size_bytes == sum(map(len, files.values()))
    listing = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items()))
    assert got.sha256 == hashlib.sha256(listing.encode()).hexdigest()
    assert [entry.name for entry in tmp_path.iterdir()] == [got.path.name]
    got.discard()
    assert list(tmp_path.iterdir()) == []


def test_shards_without_a_folder_are_named_after_what_they_share(tmp_path: Path) -> None:
    got = receive(tmp_path, named("My-00002-of-00002.gguf", "My-00001-of-00002.gguf"))
    assert (got.is_folder, got.filename) == (True, "My.gguf")
    assert set(tree(got.path)) == {"My-00001-of-00002.gguf", "My-00002-of-00002.gguf"}


def test_no_file_is_named_as_the_box_names_its_own(tmp_path: Path) -> None:
    assert set(tree(receive(tmp_path, named("d/1", "d/0", "d/2")).path)) == {"0", "1", "2"}


def test_a_signature_comes_beside_the_file(tmp_path: Path) -> None:
    got = receive(tmp_path, form(("signature", "a.minisig", b"untrusted"), ("file", "a.gguf", b"data")))
    assert got.signature is not None
    assert (got.is_folder, got.path.read_bytes(), got.signature.read_bytes()) == (
        False,
        b"data",
        b"untrusted",
    )
    got.discard()
    assert list(tmp_path.iterdir()) == []


def test_what_waits_for_the_last_file_does_not_look_like_a_leftover(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secai_site.kernel.http.uploads.TOUCH_EVERY_S", -1)
    upload = IncomingUpload(tmp_path, TYPE, None)
    upload.feed(form(("signature", "s", b"s"), ("file", "d/a", b"x"), ("file", "d/b", b"y"), end=False))
    for entry in tmp_path.iterdir():
        os.utime(entry, (0, 0))
    upload.feed(form(("file", "d/c", b"z")))
    assert all(entry.stat().st_mtime > 1 for entry in tmp_path.iterdir())
    upload.finish().discard()


@pytest.mark.parametrize("name", ["a.pdf", "A.EXE", "photo.jpeg", "model.tar.gz", "README.md"])
def test_what_is_no_model_by_its_name_is_refused_before_it_is_kept(tmp_path: Path, name: str) -> None:
    upload = IncomingUpload(tmp_path, TYPE, None, accept_name)
    with pytest.raises(KindRefused) as caught:
        upload.feed(form(("file", name, b"x" * 10_000))[:200])
    assert caught.value.error_code == "upload.kind"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["a.gguf", "a.safetensors", "a.zip", "a.bin", "a.pt", "a.ckpt", "a.pkl", "blob", "v1.Q4_K", "sd/readme.md"]
)  # fmt: skip
def test_what_may_be_a_model_is_for_the_format_gate_to_judge(name: str) -> None:
    accept_name(name)


# --- who may -----------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_only_who_manages_models_is_admitted(cast: Cast, peers: Any) -> None:
    operator, member = key_of(cast.operator, "models"), key_of(cast.member, "chat")
    host = {"host": "localhost:8480"}
    admitted = admit_upload(host | {"authorization": f"Bearer {operator}"})
    assert admitted.user == cast.operator
    refusals: list[tuple[dict[str, str], type[ServiceError], str]] = [
        ({"authorization": f"Bearer {member}"}, NotAllowed, "auth.scope"),
        ({}, NotSignedIn, "auth.required"),
        ({"authorization": "Bearer x"}, NotSignedIn, "auth.key"),
        ({"authorization": f"Bearer {operator}", "origin": "http://evil.example"}, NotAllowed, "auth.origin"),
        ({"authorization": f"Bearer {operator}", "origin": "http://["}, NotAllowed, "auth.origin"),
        ({"authorization": f"Bearer {operator}", "sec-fetch-site": "cross-site"}, NotAllowed, "auth.origin"),
        ({"authorization": f"Bearer {operator}", "host": "evil.example"}, InvalidRequest, "request.host"),
    ]
    for headers, kind, code in refusals:
        with pytest.raises(kind) as caught:
            admit_upload(host | headers)
        assert caught.value.error_code == code


@pytest.mark.django_db(transaction=True)
def test_uploads_are_counted_once(cast: Cast, settings: Any, peers: Any) -> None:
    settings.RATES = settings.RATES | {"upload": "1/m"}
    key = key_of(cast.operator, "models")
    headers = {"host": "localhost:8480", "authorization": f"Bearer {key}"}
    admit_upload(headers)
    assert upload(program(key), b"x").status_code == 200
    with pytest.raises(TooMany):
        admit_upload(headers)


@pytest.fixture
def headers(cast: Cast, peers: Any) -> dict[str, str]:
    """The operator's, of an upload."""
    return {"host": "localhost:8480", "authorization": f"Bearer {key_of(cast.operator, 'models')}"}


def policy_says(monkeypatch: pytest.MonkeyPatch, **decision: Any) -> None:
    """What the registry answers when it is asked whether uploads may come."""
    from registry.client import RegistryClient

    said = {"allowed": True, "code": "source.local", "reason": "", **decision}
    monkeypatch.setattr(RegistryClient, "admit", lambda _self, source: said if source == "local" else {})


@pytest.mark.django_db(transaction=True)
def test_uploads_that_the_policy_forbids_are_refused_before_they_come(
    headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy_says(monkeypatch, allowed=False, reason="This box does not take uploaded models.")
    with pytest.raises(NotAllowed) as caught:
        admit_upload(headers, 100)
    assert (caught.value.http_status, caught.value.error_code) == (403, "source.local")
    assert caught.value.message == "This box does not take uploaded models."


@pytest.mark.django_db(transaction=True)
def test_uploads_larger_than_the_policy_allows_are_refused_before_they_come(
    headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy_says(monkeypatch, max_size_bytes=10_000_000)
    admit_upload(headers, 10_000_000 + 2**20)
    with pytest.raises(ServiceError) as caught:
        admit_upload(headers, 10_000_001 + 2**20)
    assert (caught.value.http_status, caught.value.error_code) == (413, "policy.size")


@pytest.mark.django_db(transaction=True)
def test_without_the_registry_no_upload_is_admitted(
    headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from secai_site.kernel.http import peer
    from tests.support.peers import Nobody

    monkeypatch.setattr(peer, "transport_for", lambda _service: Nobody())
    with pytest.raises(ServiceError) as caught:
        admit_upload(headers, 100)
    assert caught.value.http_status == 503


# --- the view ----------------------------------------------------------------------------------------


def upload(client: ListenerClient, data: bytes, filename: str = "My model.gguf", **fields: str) -> Any:
    """What the view answers when the server has received a file, or a whole form, for it."""
    parts = [(name, None, value.encode()) for name, value in fields.items()]
    body = data if data.startswith(b"--") else form(*parts, ("file", filename, data))
    received = receive(Path(django_settings.QUARANTINE_DIR) / "incoming", body, step=1000)
    scope: Any = {SCOPE_KEY: received}
    return client.generic("POST", "/api/models/import", b"", content_type=TYPE, **scope)


def left() -> list[str]:
    """What lies in the incoming folder."""
    return os.listdir(Path(django_settings.QUARANTINE_DIR) / "incoming")


@pytest.fixture
def importer(cast: Cast, peers: Any) -> ListenerClient:
    """The operator's browser."""
    return browser(cast.operator)


@pytest.mark.django_db(transaction=True)
def test_an_uploaded_file_goes_to_quarantine(importer: ListenerClient, cast: Cast, audited: Any) -> None:
    answer = upload(importer, b"bytes")
    assert answer.status_code == 200, answer.content
    item = QuarantineItem.objects.get()
    assert answer.json() == {
        "status": "quarantined", "id": str(item.pk), "name": "My-model", "size_bytes": 5,
        "sha256": hashlib.sha256(b"bytes").hexdigest(),
    }  # fmt: skip
    assert item.file.read_bytes() == b"bytes"
    assert item.source == "local"
    assert audited("registry.file:submitted")[0]["actor"] == f"service:ui for user:{cast.operator.pk}"
    assert left() == []


@pytest.mark.django_db(transaction=True)
def test_an_uploaded_folder_goes_to_quarantine_with_its_signature(importer: ListenerClient) -> None:
    answer = upload(
        importer, form(("signature", "s", b"sig"), ("file", "sd/a.json", b"{}"), ("file", "sd/b/c", b"x"))
    )
    assert answer.status_code == 200, answer.content
    item = QuarantineItem.objects.get()
    assert tree(item.file) == {"a.json": b"{}", "b/c": b"x"}
    assert (answer.json()["name"], answer.json()["sha256"], answer.json()["size_bytes"]) == (
        "sd",
        item.sha256,
        3,
    )
    assert item.signature.read_bytes() == b"sig"
    assert left() == []


@pytest.mark.django_db(transaction=True)
def test_a_digest_that_was_named_is_compared_and_kept(importer: ListenerClient) -> None:
    good = hashlib.sha256(b"bytes").hexdigest()
    assert upload(importer, b"bytes", sha256=good.upper()).status_code == 200
    assert QuarantineItem.objects.get().pin == good
    answer = upload(importer, b"other", "b.gguf", sha256=good)
    assert (answer.status_code, answer.json()["code"]) == (400, "upload.digest")
    assert answer.json()["actual"] == hashlib.sha256(b"other").hexdigest()
    assert upload(importer, b"other", "b.gguf", sha256="nonsense").status_code == 400
    assert QuarantineItem.objects.count() == 1
    zipped = upload(importer, b"bytes", "c.zip", sha256=good)
    assert QuarantineItem.objects.get(pk=zipped.json()["id"]).pin == good
    assert left() == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ["a/b", "..", "-x", "x" * 129, "a b", "мodel"])
def test_a_bad_name_is_refused_and_the_file_is_gone(importer: ListenerClient, name: str) -> None:
    answer = upload(importer, b"bytes", name=name)
    assert answer.status_code == 400
    assert not QuarantineItem.objects.exists()
    assert left() == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("filename", "name"),
    [("../../etc/passwd", "passwd"), ("C:\\models\\Tiny.GGUF", "Tiny"), ("ü", "model"), ("...", "model"),
     ("a" * 300 + ".gguf", "a" * 128), ("<script>.safetensors", "script")],
)  # fmt: skip
def test_strange_file_names_become_good_names(importer: ListenerClient, filename: str, name: str) -> None:
    assert upload(importer, b"bytes", filename).json()["name"] == name


@pytest.mark.django_db(transaction=True)
def test_without_a_received_file_there_is_no_upload(importer: ListenerClient) -> None:
    answer = importer.generic("POST", "/api/models/import", form(("file", "a", b"x")), content_type=TYPE)
    assert answer.status_code == 415
    assert importer.send("POST", "/api/models/import", {}).status_code == 415
    assert not QuarantineItem.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_registry_that_is_down_leaves_nothing(
    importer: ListenerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from secai_site.kernel.http import peer
    from tests.support.peers import Nobody

    monkeypatch.setattr(peer, "transport_for", lambda _service: Nobody())
    assert upload(importer, b"bytes").status_code == 503
    assert left() == []
