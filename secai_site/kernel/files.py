"""Opening, hashing and publishing files by descriptor: what is checked is what is used."""

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from secai_site.kernel.errors import InvalidRequest, NotFound, ServiceError

CHUNK = 1024 * 1024


class PathRefused(InvalidRequest):
    """The path leads outside, through a link, or to something that is no regular file."""

    code = "path.refused"


class Unreadable(ServiceError):
    """The machine could not open the file just now (too many open files, a broken disk); nothing is wrong with it."""

    status = 503
    code = "storage.unreadable"


# What opening says of a link, a file in a folder's place, a socket: the path itself is at fault.
BY_PATH = frozenset({errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO, errno.ENAMETOOLONG})


def parts_below(root: Path, path: str) -> tuple[str, ...]:
    """The components of `path` below `root`; it is absolute and below it, or relative to it.

    Purely lexical; `..`, empty names and NUL are refused, not resolved.
    """
    if not path or "\0" in path:
        raise PathRefused("The path is empty or contains a NUL character.")
    pure = PurePosixPath(path)
    if pure.is_absolute():
        try:
            pure = pure.relative_to(root)
        except ValueError:
            raise PathRefused(
                "The path leads out of the folder it belongs to.", code="path.outside"
            ) from None
    if not pure.parts or ".." in pure.parts or "//" in path:
        raise PathRefused("The path must name one file, without “..”.", code="path.outside")
    return pure.parts


def open_below(root: Path, path: str) -> int:
    """Open a regular file below `root` for reading and return its descriptor.

    Every component is opened without following links, so neither a link nor a swap can lead outside. Raises
    `PathRefused`, `NotFound`, and `Unreadable` when the fault lies with the machine.
    """
    parts = parts_below(root, path)
    folder = os.open(root.resolve(), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for name in parts[:-1]:
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder = inner
        file = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        raise NotFound("There is no such file.", code="path.missing") from None
    except OSError as error:
        if error.errno in BY_PATH:
            raise PathRefused("The path leads through a link or to something that is no file.") from error
        raise Unreadable(f"The file cannot be opened now: {error.strerror}.") from error
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise PathRefused("The path leads to something that is no regular file.")
    return file


def sha256_of(descriptor: int, progress: Callable[[int], None] | None = None) -> str:
    """The SHA-256 (64 lower-case hex digits) of an open file; `progress` gets the bytes read so far."""
    digest = hashlib.sha256()
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    offset = 0
    while count := os.preadv(descriptor, [view], offset):
        digest.update(view[:count])
        offset += count
        if progress is not None:
            progress(offset)
    return digest.hexdigest()


def set_digest(files: Iterable[tuple[str, str]]) -> str:
    """The SHA-256 that names a set of files, each given as (relative path, its SHA-256).

    It is the digest of what `sha256sum` prints for them in the order of their paths, so anybody can reproduce
    it: `find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum`.
    """
    listing = "".join(f"{sha256}  {path}\n" for path, sha256 in sorted(files))
    return hashlib.sha256(listing.encode()).hexdigest()


def sync_folder(folder: Path) -> None:
    """Make a rename or link in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(descriptor: int, source: Path, target: Path) -> None:
    """Give the open file at `source` its final name; flushed first, read-only, and never a replacement.

    Raises `FileExistsError` if `target` exists and is another file, `PathRefused` if `source` is no longer the
    file that `descriptor` has open.
    """
    os.fchmod(descriptor, 0o400)
    os.fsync(descriptor)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    opened = os.fstat(descriptor)
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        if not os.path.samestat(os.lstat(target), opened):
            raise
    if not os.path.samestat(os.lstat(target), opened):
        target.unlink()
        raise PathRefused("The file was exchanged while it was being published.", code="path.swapped")
    sync_folder(target.parent)
    sync_folder(target.parent.parent)
