"""The child process that unpacks a zip. It can read that file, write below one folder, and reach nothing else.

Started by `registry.quarantine.unpack`; standard input is the zip, standard output takes one JSON object:
`{"files": [path]}`, or `{"code", "reason"}` for a refusal.
"""

import errno
import json
import os
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from registry.quarantine.formats.errors import FormatError
from registry.quarantine.formats.reader import Reader
from registry.quarantine.formats.tensors import shown
from registry.quarantine.formats.zip_archive import Entry, read_entries
from registry.quarantine.formats.zip_directory import DEFLATED
from secai_site.kernel.sandbox import Limits, Profile, SandboxUnavailableError, apply

ARCHIVE: Final = 0
ANSWER: Final = 1
MEMORY: Final = 512 << 20
CHUNK: Final = 1 << 20
MAX_FILES: Final = 500
# Random weights do not shrink, settings and word lists some 10:1; Deflate reaches 1,032:1 with zeros only.
MAX_RATIO: Final = 20
SMALL: Final = 1 << 20
SPARE: Final = 64 << 20
FINDER: Final = ("__MACOSX", ".DS_Store")

Answer = dict[str, Any]


def main(arguments: list[str]) -> int:
    """Confine this process, unpack standard input into a folder, write the answer.

    `arguments`: parent pid, processor seconds, the most bytes that may come out, whether the sandbox is required
    (0 or 1), the folder.
    """
    parent, cpu_s, limit, required = map(int, arguments[:4])
    target = Path(arguments[4])
    try:
        apply(profile(parent, cpu_s, limit, target, required=bool(required)))
        answer: Answer = {"files": unpack(ARCHIVE, target, limit)}
    except FormatError as error:
        answer = {"code": error.code, "reason": error.reason}
    except SandboxUnavailableError as error:
        answer = {"code": "archive.sandbox", "reason": str(error)}
    except Exception as error:  # whatever a hostile archive provokes is an answer, and never a success
        answer = _failed(error)
    with open(ANSWER, "wb", closefd=False) as out:
        out.write(json.dumps(answer).encode())
    return 0


def profile(parent: int, cpu_s: int, limit: int, target: Path, *, required: bool) -> Profile:
    """One folder to write, no file larger than the limit, no socket, no other process."""
    return Profile(
        name="unpacker",
        write=(target,),
        network="none",
        processes=False,
        programs=False,
        limits=Limits(cpu_s=cpu_s, memory=MEMORY, file_size=limit, open_files=16),
        required=required,
        parent=parent,
    )


def unpack(fd: int, target: Path, limit: int) -> list[str]:
    """Write the files of the zip behind `fd` below `target` and flush them; their paths, sorted.

    Everything that the archive says of itself is checked before the first file is written. Raises `FormatError`.
    """
    size = os.fstat(fd).st_size
    files = _stripped([one for one in read_entries(fd, size) if not one.is_folder and not _from_finder(one)])
    _check_sizes([entry for _, entry in files], size, limit, target)
    reader = Reader(fd, size, "archive")
    for path, entry in files:
        _extract(reader, entry, target / path)
    _sync_folders(target)
    return sorted(path for path, _ in files)


def _failed(error: Exception) -> Answer:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return {"code": "storage.full", "reason": "The disk is full. Nothing of the zip archive was kept"}
    return {"code": "archive.failed", "reason": f"Unpacking failed ({type(error).__name__})"}


def _from_finder(entry: Entry) -> bool:
    """What the macOS Finder adds to each archive; it is no part of a model and is left out."""
    parts = entry.path.split("/")
    return parts[0] == FINDER[0] or parts[-1] == FINDER[1]


def _stripped(entries: Sequence[Entry]) -> list[tuple[str, Entry]]:
    """Each file with its path, without the one folder that all lie in."""
    tops = {entry.path.partition("/")[0] for entry in entries if "/" in entry.path}
    common = len(tops) == 1 and all("/" in entry.path for entry in entries)
    return [(entry.path.partition("/")[2] if common else entry.path, entry) for entry in entries]


def _check_sizes(entries: Sequence[Entry], archive: int, limit: int, target: Path) -> None:
    """Refuse bombs and what does not fit; raises `FormatError`."""
    if not 0 < len(entries) <= MAX_FILES:
        raise _refused(f"It holds {len(entries):,} files; 1 to {MAX_FILES} are possible", "archive.entries")
    for entry in entries:
        if entry.size > max(SMALL, MAX_RATIO * entry.packed):
            raise _refused(
                f"“{shown(entry.path)}” would grow from {entry.packed:,} to {entry.size:,} bytes: it is a bomb",
                "archive.bomb",
            )
    total = sum(entry.size for entry in entries)
    if total > MAX_RATIO * archive + SPARE:
        raise _refused(f"It would grow from {archive:,} to {total:,} bytes: it is a bomb", "archive.bomb")
    if total > limit:
        raise _refused(f"It unpacks to {total:,} bytes; at most {limit:,} are allowed", "archive.size")
    disk = os.statvfs(target)
    free = disk.f_bavail * disk.f_frsize
    if total + SPARE > free:
        raise _refused(
            f"Unpacking needs {total:,} bytes; only {free:,} are free. Make room and try again",
            "storage.full",
        )


def _extract(reader: Reader, entry: Entry, path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, 0o600), "wb") as out:
        crc = written = 0
        for piece in _inflated(reader, entry):
            written += len(piece)
            if written > entry.size:
                break
            crc = zlib.crc32(piece, crc)
            out.write(piece)
        if (written, crc) != (entry.size, entry.crc):
            raise _damaged(entry)
        out.flush()
        os.fsync(out.fileno())


def _inflated(reader: Reader, entry: Entry) -> Iterator[bytes]:
    """The content in pieces of at most `CHUNK` bytes; the compressed stream must end where its entry does."""
    packed = reader.chunks(entry.data, entry.data + entry.packed, CHUNK)
    if entry.method != DEFLATED:
        yield from packed
        return
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for chunk in packed:
            yield from _pieces(stream, chunk)
        while not stream.eof and (piece := stream.decompress(b"", CHUNK)):
            yield piece
    except zlib.error:
        raise _damaged(entry) from None
    if not stream.eof or stream.unused_data:
        raise _damaged(entry)


def _pieces(stream: "zlib._Decompress", chunk: bytes) -> Iterator[bytes]:
    """What `chunk` inflates to; what comes after the end of the stream is left in its `unused_data`."""
    while True:
        yield stream.decompress(chunk, CHUNK)
        chunk = stream.unconsumed_tail
        if not chunk:
            return


def _sync_folders(target: Path) -> None:
    for folder, _, _ in os.walk(target):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _damaged(entry: Entry) -> FormatError:
    return _refused(
        f"“{shown(entry.path)}” is damaged: its content is not what the archive announces", "archive.damaged"
    )


def _refused(reason: str, code: str) -> FormatError:
    return FormatError(reason, None, code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
