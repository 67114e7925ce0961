"""Uploads: written and hashed while they arrive, and gone without a trace when anything is wrong."""

import errno
import hashlib
import os
from pathlib import Path
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
from ui.catalog.uploads import admit_upload

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


REFUSED: dict[str, tuple[bytes, str]] = {
    "no file": (form(("name", None, b"tiny")), "upload.no_file"),
    "a file without a file name": (form(("file", None, b"data")), "upload.no_file"),
    "two files": (form(("file", "a", b"one"), ("file", "b", b"two")), "upload.two_files"),
    "two empty files": (form(("file", "a", b""), ("file", "b", b"")), "upload.two_files"),
    "cut off in the file": (form(("file", "a", b"x" * 500), end=False)[:-100], "upload.truncated"),
    "cut off before the end": (form(("file", "a", b"x" * 500), end=False), "upload.truncated"),
    "cut off in a header": (form(("file", "a", b"x"))[:60], "upload.truncated"),
    "another boundary": (form(("file", "a", b"x")).replace(b"--a", b"--b"), "upload.form"),
    "nothing": (b"", "upload.truncated"),
    "too many fields": (form(*[(f"f{n}", None, b"x") for n in range(17)]), "upload.form"),
    "a long field": (form(("name", None, b"x" * 4097)), "upload.form"),
    "a long header": (form(("n" * 9000, None, b"x")), "upload.form"),
    "a field that is no UTF-8": (form(("name", None, b"\xff")), "upload.form"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("step", [1, 10**6])
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
            receive(tmp_path, body, step=step).path.unlink()
        except ServiceError as error:
            assert error.error_code.startswith("upload.")
    assert list(tmp_path.iterdir()) == []


# --- who may -----------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_only_who_manages_models_is_admitted(cast: Cast) -> None:
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


# --- the view ----------------------------------------------------------------------------------------


def upload(client: ListenerClient, data: bytes, filename: str = "My model.gguf", **fields: str) -> Any:
    """What the view answers when the server has received a file for it."""
    parts = [(name, None, value.encode()) for name, value in fields.items()]
    incoming = Path(django_settings.QUARANTINE_DIR) / "incoming"
    received = receive(incoming, form(*parts, ("file", filename, data)), step=1000)
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
