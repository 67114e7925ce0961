"""Unpacking by the real child: good archives come out whole, hostile ones leave nothing behind."""

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.quarantine import unpack as unpacking
from registry.quarantine.child import Outcome
from registry.quarantine.formats.errors import FormatError
from registry.quarantine.formats.zip_archive import read_entries
from registry.quarantine.unpack import UnpackRefused, looks_like_set, unpack
from registry.quarantine.unpack_process import unpack as unpack_here
from secai_site.kernel.errors import ServiceError, StorageFull
from tests.support.pipelines import ddpm, sd15, weights
from tests.support.zips import BOMB, Packed, Zip, ZipCase, benign_zips, hostile_zips, large, zipped

BENIGN = benign_zips()
HOSTILE = list(hostile_zips())
LIMIT = 64 << 10
SECONDS = 2.0  # of processor time
PATIENCE = 20.0  # with the start of a child, on a busy machine
# through the child: one per place where a refusal can come from
THROUGH_THE_CHILD = (
    "data after the end", "prefix with corrected offsets", "name b'../evil'", "name b'/etc/passwd'", "symbolic link",
    "same name in other letters", "local header with another name", "encrypted", "method 93", "crc wrong in both",
    "data after the stream", "bomb of zeros", "entry inside another", "zip64 with a huge count",
)  # fmt: skip


@contextmanager
def archive(folder: Path, data: bytes) -> Iterator[int]:
    """A descriptor of an archive, as the registry opens it."""
    path = folder / "upload"
    path.write_bytes(data)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def named(case: ZipCase) -> str:
    return case.name.replace("\\", "_").replace("/", "_")


def test_there_are_enough_cases_and_no_two_of_one_name() -> None:
    names = [case.name for case in HOSTILE]
    assert len(names) >= 80
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", BENIGN)
def test_an_ordinary_archive_comes_out_whole(name: str, tmp_path: Path) -> None:
    data, files = BENIGN[name]
    start = time.perf_counter()
    with archive(tmp_path, data) as descriptor:
        paths = unpack(descriptor, tmp_path / "out")
    assert time.perf_counter() - start < PATIENCE
    assert paths == sorted(files)
    assert content(tmp_path / "out") == files


@pytest.mark.parametrize("case", HOSTILE, ids=named)
def test_a_hostile_archive_is_refused_with_its_code(case: ZipCase, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    start = time.process_time()
    with archive(tmp_path, case.data) as descriptor, pytest.raises(FormatError) as caught:
        unpack_here(descriptor, out, LIMIT)
    assert time.process_time() - start < SECONDS
    assert caught.value.code == case.code, caught.value.reason
    assert 15 < len(caught.value.reason) < 300
    assert caught.value.reason.isprintable()
    assert sorted(tmp_path.iterdir()) == [out, tmp_path / "upload"]


@pytest.mark.parametrize("name", THROUGH_THE_CHILD)
def test_a_hostile_archive_leaves_nothing_behind(name: str, tmp_path: Path) -> None:
    case = next(case for case in HOSTILE if case.name == name)
    start = time.perf_counter()
    with archive(tmp_path, case.data) as descriptor, pytest.raises(UnpackRefused) as caught:
        unpack(descriptor, tmp_path / "out")
    assert time.perf_counter() - start < PATIENCE
    assert caught.value.error_code == case.code
    assert caught.value.message.endswith(".")
    assert list(tmp_path.iterdir()) == [tmp_path / "upload"]


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    entries = (Packed(b"model_index.json", mode=0o100777), Packed(b"unet/config.json", mode=0o100444))
    with archive(tmp_path, Zip(entries).build()) as descriptor:
        unpack(descriptor, tmp_path / "out")
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").rglob("*")]
    assert sorted(modes) == [0o600, 0o600, 0o700]


def test_a_folder_that_is_there_already_and_empty_is_used(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with archive(tmp_path, zipped(ddpm())) as descriptor:
        assert unpack(descriptor, tmp_path / "out") == sorted(ddpm())


def test_nothing_is_unpacked_into_a_folder_with_files(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("precious")
    with archive(tmp_path, zipped(ddpm())) as descriptor, pytest.raises(ValueError, match="empty"):
        unpack(descriptor, tmp_path / "out")
    assert content(tmp_path / "out") == {"mine": b"precious"}


def test_what_is_larger_than_the_limit_is_refused_before_it_is_written(tmp_path: Path) -> None:
    with archive(tmp_path, zipped(sd15())) as descriptor, pytest.raises(UnpackRefused) as caught:
        unpack(descriptor, tmp_path / "out", limit=1_000)
    assert caught.value.error_code == "archive.size"
    assert "at most 1,000 are allowed" in caught.value.message
    assert not (tmp_path / "out").exists()


def test_weights_that_shrink_as_weights_do_are_no_bomb(tmp_path: Path) -> None:
    files = {"model_index.json": b"{}", "unet/w.safetensors": weights({"x": (600, 600)}) + bytes(BOMB // 8)}
    with archive(tmp_path, zipped(files)) as descriptor:
        assert unpack(descriptor, tmp_path / "out") == sorted(files)


def test_a_full_disk_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = os.statvfs_result((4096, 4096, 10, 5, 5, 10, 5, 5, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _path: full)
    with archive(tmp_path, zipped(ddpm())) as descriptor, pytest.raises(FormatError) as caught:
        unpack_here(descriptor, tmp_path, LIMIT)
    assert caught.value.code == "storage.full"
    assert "Make room" in caught.value.reason
    assert list(tmp_path.iterdir()) == [tmp_path / "upload"]


Answers = Callable[[bytes, str], None]


@pytest.fixture
def child_says(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Put other words into the child's mouth."""

    def say(output: bytes, end: str) -> None:
        monkeypatch.setattr(unpacking, "run_child", lambda *_, **__: Outcome(output, end))  # type: ignore[arg-type]

    return say


@pytest.mark.parametrize(
    ("output", "end", "code"),
    [
        (b"", "late", "archive.time"),
        (b"", "crashed", "archive.failed"),
        (b'{"files": []}', "crashed", "archive.failed"),
        (b"", "flooded", "archive.failed"),
        (b"", "unstarted", "archive.failed"),
        (b"", "well", "archive.failed"),
        (b"[" * 9_999, "well", "archive.failed"),
        (b'{"files": [1]}', "well", "archive.failed"),
        (b'{"files": ["invented"]}', "well", "archive.failed"),
        (b'{"code": "auth.forbidden", "reason": "No"}', "well", "archive.refused"),
    ],
)
def test_whatever_goes_wrong_with_the_child_refuses(
    output: bytes, end: str, code: str, child_says: Answers, tmp_path: Path
) -> None:
    child_says(output, end)
    with archive(tmp_path, zipped(ddpm())) as descriptor, pytest.raises(UnpackRefused) as caught:
        unpack(descriptor, tmp_path / "out")
    assert caught.value.error_code == code
    assert not (tmp_path / "out").exists()


def test_a_full_disk_has_its_own_status(child_says: Answers, tmp_path: Path) -> None:
    child_says(b'{"code": "storage.full", "reason": "The disk is full"}', "well")
    with archive(tmp_path, zipped(ddpm())) as descriptor, pytest.raises(StorageFull) as caught:
        unpack(descriptor, tmp_path / "out")
    assert caught.value.http_status == 507
    assert not (tmp_path / "out").exists()


def test_links_that_a_child_taken_over_made_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plant(*_: object, **__: object) -> Outcome:
        (tmp_path / "out" / "x").symlink_to("/etc/passwd")
        return Outcome(b'{"files": ["x"]}', "well")

    monkeypatch.setattr(unpacking, "run_child", plant)
    with archive(tmp_path, zipped(ddpm())) as descriptor, pytest.raises(UnpackRefused):
        unpack(descriptor, tmp_path / "out")
    assert not (tmp_path / "out").exists()


PROBE = """
import sys; sys.path.insert(0, {root!r})
import os, socket, json
from pathlib import Path
from registry.quarantine import unpack_process
from registry.quarantine.formats.errors import FormatError
def attempt(what):
    try:
        what()
    except BaseException as error:
        return type(error).__name__
    return "done"
def unpack(fd, target, limit):
    probes = dict(
        read=attempt(lambda: open("/etc/passwd").read()),
        beside=attempt(lambda: open({beside!r}, "w").write("x")),
        climb=attempt(lambda: os.mkdir(target / ".." / "other")),
        socket=attempt(lambda: socket.socket()),
        fork=attempt(os.fork),
        run=attempt(lambda: os.execv("/bin/true", ["true"])),
        kill=attempt(lambda: os.kill(os.getppid(), 0)),
        device=attempt(lambda: os.mknod(target / "device", 0o20600, os.makedev(1, 3))),
        archive=attempt(lambda: os.write(0, b"x")),
        larger=attempt(lambda: open(target / "large", "wb", buffering=0).write(bytes(limit + 1)) <= limit and 1 / 0),
        own=attempt(lambda: open(target / "own", "w").write("x")),
    )
    raise FormatError(json.dumps(probes), None, "archive.probe")
unpack_process.unpack = unpack
sys.exit(unpack_process.main([{parent!r}, "5", "1000", "1", {target!r}]))
"""


def test_a_child_taken_over_can_write_below_its_folder_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import json
    import sys

    code = PROBE.format(
        root=str(Path(unpacking.__file__).parents[2]), beside=str(tmp_path / "beside"), parent=str(os.getpid()),
        target=str(tmp_path / "out"),
    )  # fmt: skip
    monkeypatch.setattr(unpacking, "python_child", lambda *_: [sys.executable, "-I", "-c", code])
    with archive(tmp_path, zipped(ddpm())) as descriptor, pytest.raises(UnpackRefused) as caught:
        unpack(descriptor, tmp_path / "out")
    assert caught.value.error_code == "archive.probe", caught.value.message
    probes = json.loads(caught.value.message.rstrip("."))
    assert probes.pop("own") == "done"
    assert probes.pop("archive") == "OSError"
    assert probes.pop("larger") == "ZeroDivisionError"  # cut at the limit
    assert set(probes.values()) == {"PermissionError"}, probes
    assert list(tmp_path.iterdir()) == [tmp_path / "upload"]


# --- what is a set -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BENIGN)
def test_an_archive_of_a_pipeline_or_model_is_a_set(name: str, tmp_path: Path) -> None:
    with archive(tmp_path, BENIGN[name][0]) as descriptor:
        assert looks_like_set(descriptor) is True


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("PyTorch archive", zipped({"archive/data.pkl": b"\x80\x02.", "archive/data/0": bytes(64)})),
        (
            "PyTorch archive that pretends",
            zipped({"model_index.json": b"{}", "archive/data.pkl": b"\x80\x02."}),
        ),
        ("document", zipped({"word/document.xml": b"<x/>", "[Content_Types].xml": b"<x/>"})),
        ("index too deep", zipped({"a/b/model_index.json": b"{}"})),
        ("GGUF with a zip at its end", b"GGUF" + zipped(ddpm())),
        ("GGUF", b"GGUF" + bytes(100)),
        ("nothing", b""),
        ("first bytes only", b"PK\x03\x04"),
    ],
)
def test_other_files_stay_one_file(name: str, data: bytes, tmp_path: Path) -> None:
    with archive(tmp_path, data) as descriptor:
        assert looks_like_set(descriptor) is False, name


@pytest.mark.parametrize(
    "name", ["encrypted", "data after the end", "method 14", "local header with another name"]
)
def test_a_broken_archive_of_a_pipeline_is_a_set_so_that_its_fault_is_named(
    name: str, tmp_path: Path
) -> None:
    case = next(case for case in HOSTILE if case.name == name)
    with archive(tmp_path, case.data) as descriptor:
        assert looks_like_set(descriptor) is True


# --- by chance ---------------------------------------------------------------------------------------


@given(st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_damage_to_an_archive_gets_past_as_anything_but_a_refusal(
    tmp_path: Path, data: st.DataObject
) -> None:
    good = bytearray(
        data.draw(st.sampled_from([zipped(ddpm()), large(ddpm()), BENIGN["written to a pipe"][0]]))
    )
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(good) - 1) | st.integers(max(0, len(good) - 400), len(good) - 1))
        good[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.just(len(good)) | st.integers(0, len(good)))
    with archive(tmp_path, bytes(good[:cut])) as descriptor:
        looks_like_set(descriptor)
        try:
            entries = read_entries(descriptor, cut)
        except FormatError as error:
            assert error.code.startswith("archive.")
        else:
            assert entries[0].header == 0
            assert all(".." not in entry.path.split("/") for entry in entries)


def test_the_refusal_is_an_error_of_the_service() -> None:
    assert issubclass(UnpackRefused, ServiceError)
    assert UnpackRefused("x").http_status == 400
