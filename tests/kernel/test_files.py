"""What is checked is what is used: files are opened below their root and published once."""

import hashlib
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from secai_site.kernel.errors import NotFound
from secai_site.kernel.files import PathRefused, open_below, parts_below, publish, sha256_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a file, a folder with a file, and a twin beside it."""
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (root / "file").write_bytes(b"inside")
    (root / "folder" / "file").write_bytes(b"deep inside")
    (tmp_path / "root_evil").mkdir()
    (tmp_path / "root_evil" / "file").write_bytes(b"outside")
    return root


def read(root: Path, path: str) -> bytes:
    """The bytes that `open_below` leads to."""
    descriptor = open_below(root, path)
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def test_files_below_the_root_are_opened(root: Path) -> None:
    assert read(root, "file") == b"inside"
    assert read(root, "folder/file") == b"deep inside"
    assert read(root, str(root / "folder" / "file")) == b"deep inside"
    assert read(root, "./folder/./file") == b"deep inside"


@pytest.mark.parametrize(
    "path",
    ["", ".", "..", "../root/file", "folder/../file", "../root_evil/file", "/etc/passwd", "//etc/passwd",
     "folder//file", "file\0", "\0", "folder/..", "/", "x" * 300, "folder/" * 2000 + "file"],
)  # fmt: skip
def test_paths_that_lead_elsewhere_are_refused(root: Path, path: str) -> None:
    with pytest.raises((PathRefused, NotFound)) as caught:
        open_below(root, path)
    assert caught.value.error_code.startswith("path.")


def test_a_twin_of_the_roots_name_is_outside(root: Path) -> None:
    with pytest.raises(PathRefused) as caught:
        open_below(root, str(root.parent / "root_evil" / "file"))
    assert caught.value.error_code == "path.outside"
    with pytest.raises(PathRefused):
        parts_below(root, f"{root}/../root_evil/file")


def test_a_missing_file_is_not_found(root: Path) -> None:
    for path in ("missing", "missing/file", "folder/missing"):
        with pytest.raises(NotFound):
            open_below(root, path)


def test_links_are_not_followed(root: Path) -> None:
    (root / "link").symlink_to(root / "file")
    (root / "linked").symlink_to(root.parent / "root_evil")
    (root / "inner").symlink_to("folder")
    for path in ("link", "linked/file", "inner/file"):
        with pytest.raises(PathRefused):
            open_below(root, path)


def test_only_regular_files_are_opened(root: Path) -> None:
    os.mkfifo(root / "fifo")
    for path in ("fifo", "folder"):
        with pytest.raises(PathRefused):
            open_below(root, path)


def test_a_file_as_a_folder_is_refused(root: Path) -> None:
    with pytest.raises(PathRefused):
        open_below(root, "file/file")


def test_refusals_leave_no_descriptor_open(root: Path) -> None:
    (root / "link").symlink_to(root / "file")
    before = len(os.listdir("/proc/self/fd"))
    for path in ("missing", "link", "folder", "missing/file", "../x"):
        with pytest.raises((PathRefused, NotFound)):
            open_below(root, path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_folder_swapped_for_a_link_never_leads_outside(root: Path) -> None:
    """One thread swaps the folder for a link to the twin all the time; no reader ever gets the twin's bytes."""
    twin, real, spare = root.parent / "root_evil", root / "folder", root / "spare"
    stop = False

    def swap() -> None:
        while not stop:
            real.rename(spare)
            real.symlink_to(twin)
            real.unlink()
            spare.rename(real)

    seen = set()
    with ThreadPoolExecutor(1) as pool:
        swapping = pool.submit(swap)
        for _ in range(3000):
            try:
                seen.add(read(root, "folder/file"))
            except (PathRefused, NotFound):
                continue
        stop = True
        swapping.result()
    assert seen == {b"deep inside"}


def test_the_digest_is_of_the_opened_bytes(root: Path) -> None:
    told: list[int] = []
    descriptor = open_below(root, "file")
    os.lseek(descriptor, 3, os.SEEK_SET)
    assert sha256_of(descriptor, told.append) == hashlib.sha256(b"inside").hexdigest()
    assert told == [6]
    os.close(descriptor)


def test_publishing_gives_the_file_its_name_and_closes_it(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "store" / "digest" / "model"
    descriptor = open_below(root, "file")
    publish(descriptor, root / "file", target)
    publish(descriptor, root / "file", target)
    os.close(descriptor)
    assert target.read_bytes() == b"inside"
    assert stat.S_IMODE(target.stat().st_mode) == 0o400
    assert stat.S_IMODE(target.parent.stat().st_mode) == 0o700


def test_publishing_replaces_nothing(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "store" / "model"
    target.parent.mkdir()
    target.write_bytes(b"there before")
    descriptor = open_below(root, "file")
    with pytest.raises(FileExistsError):
        publish(descriptor, root / "file", target)
    os.close(descriptor)
    assert target.read_bytes() == b"there before"


def test_a_file_exchanged_before_it_is_published_is_refused(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "store" / "model"
    descriptor = open_below(root, "file")
    (root / "file").unlink()
    (root / "file").write_bytes(b"exchanged")
    with pytest.raises(PathRefused) as caught:
        publish(descriptor, root / "file", target)
    os.close(descriptor)
    assert caught.value.error_code == "path.swapped"
    assert not target.exists()


def test_a_link_put_in_the_files_place_is_not_published(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "store" / "model"
    descriptor = open_below(root, "file")
    (root / "file").unlink()
    (root / "file").symlink_to(tmp_path / "root_evil" / "file")
    with pytest.raises(PathRefused):
        publish(descriptor, root / "file", target)
    os.close(descriptor)
    assert not target.is_symlink()
    assert not target.exists()
