"""The content-addressed store: `models/<sha256>/` holds `model`, one file or a folder of files, and `manifest.json`.

An entry is built beside the others under a name of its own and then renamed in one step, so it is there whole or
not at all, and nothing in the store is ever replaced. One lock orders those who add and those who remove.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from django.conf import settings

from registry.models import MANIFEST
from secai_site.kernel.errors import Conflict
from secai_site.kernel.files import PathRefused, open_below, set_digest, sha256_of, sync_folder

MODEL = "model"
STAGING = ".staging-"


def store_path(sha256: str) -> Path:
    """Where the bytes with this digest lie: a file, or a folder for a model in several files."""
    return Path(settings.MODELS_DIR) / sha256 / MODEL


def manifest_path(sha256: str) -> Path:
    """Where the digests of its tensors lie."""
    return Path(settings.MODELS_DIR) / sha256 / MANIFEST


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Hold the store: nobody else adds or removes an entry meanwhile. The kernel frees it when a process dies."""
    descriptor = os.open(Path(settings.MODELS_DIR) / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def place(*, sha256: str, source: Path, files: Mapping[str, int], is_set: bool, manifest: Path) -> Path:
    """Put the opened files, by their path below `source` ("" for one file), into the store and return their path.

    They are linked, not copied. Call it with the store locked. Raises `PathRefused` when a name no longer leads
    to the file that was opened, `Conflict` when the store has these bytes already and they are damaged.
    """
    target = store_path(sha256)
    if target.parent.exists():
        require_intact(sha256, sorted(files) if is_set else [])
        return target
    staging = Path(settings.MODELS_DIR) / f"{STAGING}{uuid.uuid4().hex}"
    try:
        _fill(staging, source, files, is_set)
        if manifest.exists():
            shutil.copyfile(manifest, staging / MANIFEST)
            _flush(staging / MANIFEST)
        sync_folder(staging)
        os.rename(staging, target.parent)
        sync_folder(Path(settings.MODELS_DIR))
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        require_intact(sha256, sorted(files) if is_set else [])
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target


def _fill(staging: Path, source: Path, files: Mapping[str, int], is_set: bool) -> None:
    staging.mkdir(mode=0o700)
    for path, descriptor in files.items():
        origin = source / path if is_set else source
        entry = staging / MODEL / path if is_set else staging / MODEL
        _make_folders(entry.parent)
        os.fchmod(descriptor, 0o400)
        os.fsync(descriptor)
        os.link(origin, entry, follow_symlinks=False)
        if not os.path.samestat(os.lstat(entry), os.fstat(descriptor)):
            raise PathRefused("The file was exchanged while it was being published.", code="path.swapped")
    for folder in sorted({entry.parent for entry in (staging / MODEL).rglob("*")}, reverse=True):
        sync_folder(folder)


def _make_folders(folder: Path) -> None:
    """Make a folder and those above it, each for its owner alone; `parents=True` would leave those to the umask."""
    if not folder.is_dir():
        _make_folders(folder.parent)
        folder.mkdir(mode=0o700)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fchmod(descriptor, 0o400)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest_of(sha256: str, parts: list[str], read: Callable[[int], None] = lambda _done: None) -> str:
    """The digest that an entry has now: of its file, or of the set of its `parts` and of whatever was put beside them.

    `read` gets the bytes so far. Raises `NotFound` or `PathRefused`.
    """
    root, target = Path(settings.MODELS_DIR), store_path(sha256)
    done = 0
    digests: list[tuple[str, str]] = []
    for path in sorted({*parts, *_found(target)}) if parts else [""]:
        descriptor = open_below(root, str(target / path) if path else str(target))
        try:
            digests.append((path, sha256_of(descriptor, lambda count, before=done: read(before + count))))  # type: ignore[misc]
            done += os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
    return set_digest(digests) if parts else digests[0][1]


def _found(folder: Path) -> list[str]:
    """The relative paths of all that is no folder below `folder`, links too."""
    return [
        str((Path(here) / name).relative_to(folder))
        for here, folders, files in os.walk(folder)
        for name in (*files, *(one for one in folders if (Path(here) / one).is_symlink()))
    ]


def require_intact(sha256: str, parts: list[str]) -> None:
    """Raise `Conflict` unless the entry with this digest still has it."""
    if digest_of(sha256, parts) != sha256:
        raise Conflict(
            "The same model is in the store under another name, but its file has changed. Delete that one first.",
            code="promote.store_damaged",
        )


def remove(sha256: str) -> None:
    """Delete an entry; call it with the store locked and only when no row names it."""
    shutil.rmtree(store_path(sha256).parent, ignore_errors=True)


def take_out(sha256: str, target: Path) -> bool:
    """Move an entry's bytes to `target`, out of use; False when there are none."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        os.rename(store_path(sha256), target)
    except FileNotFoundError:
        return False
    sync_folder(target.parent)
    remove(sha256)
    return True
