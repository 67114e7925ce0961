"""Unpack the zip of a pipeline or of a sharded model: by a confined child, and looked over afterwards."""

import json
import os
import re
import shutil
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn

from registry.quarantine.child import Outcome, python_child, run_child
from registry.quarantine.formats.pipeline_parts import INDEX
from registry.quarantine.formats.zip_directory import MAX_DIRECTORY
from secai_site.kernel.errors import InvalidRequest, StorageFull

MODULE: Final = "registry.quarantine.unpack_process"
MAX_ANSWER: Final = 4 << 20
# what the default policy admits; a stricter one is applied to the files that come out
MAX_BYTES: Final = 512 << 30
BASE_SECONDS: Final = 20.0
# Inflating and flushing at a tenth of what one core and a disk of 200 MB/s do.
BYTES_PER_SECOND: Final = 20_000_000
ARCHIVE: Final = b"PK\x03\x04"
U16: Final = struct.Struct("<H")
# an entry of the central directory up to its name, with the length of the name
LISTED: Final = re.compile(rb"PK\x01\x02.{24}(..).{16}", re.DOTALL)


class UnpackRefused(InvalidRequest):
    """The zip cannot be unpacked, or is not to be; the message says why."""

    code = "archive.refused"


def looks_like_set(fd: int) -> bool:
    """Whether the file behind `fd` is a zip that carries a pipeline or model files.

    A PyTorch archive (with a pickle), and whatever is not a zip, is not: it stays one file, and the format gate
    names what it is. Only a guess, from names that may lie: `unpack` is strict. Reads the end of the file, never
    raises.
    """
    size = os.fstat(fd).st_size
    if os.pread(fd, len(ARCHIVE), 0) != ARCHIVE:
        return False
    tail = os.pread(fd, MAX_DIRECTORY, max(0, size - MAX_DIRECTORY))
    names = {tail[at.end() : at.end() + U16.unpack(at[1])[0]].lower() for at in LISTED.finditer(tail)}
    return not any(name.endswith(b".pkl") for name in names) and any(map(_marks_set, names))


def _marks_set(name: bytes) -> bool:
    folder, _, filename = name.rpartition(b"/")
    return name.endswith((b".gguf", b".safetensors")) or (filename == INDEX.encode() and b"/" not in folder)


def unpack(fd: int, target: Path, *, limit: int = MAX_BYTES, require_sandbox: bool = True) -> list[str]:
    """Unpack the zip behind `fd` into the empty or missing folder `target`; the relative paths, sorted.

    A common top folder is left away, as is what the macOS Finder adds. Files are 0600 and flushed; all together
    have at most `limit` bytes. Raises `UnpackRefused` or `StorageFull`; `target` is gone then.
    """
    target.mkdir(mode=0o700, exist_ok=True)
    if any(target.iterdir()):
        raise ValueError("unpack into an empty folder")
    try:
        return _unpacked(fd, target, limit, require_sandbox)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise


def _unpacked(fd: int, target: Path, limit: int, require_sandbox: bool) -> list[str]:
    seconds = BASE_SECONDS + os.fstat(fd).st_size / BYTES_PER_SECOND
    arguments = (int(2 * seconds), limit, int(require_sandbox), target.resolve())
    answer = _answer(run_child(
        python_child(MODULE, *map(str, arguments)), stdin=fd, seconds=seconds, most=MAX_ANSWER
    ))  # fmt: skip
    found = sorted(_regular_files(target))
    if answer != found:
        raise UnpackRefused("Unpacking did not leave the files that were announced.", code="archive.failed")
    return found


def _answer(outcome: Outcome) -> list[str]:
    """The paths that the child claims to have written; raises what it refused with."""
    if outcome.end == "late":
        raise UnpackRefused("Unpacking took too long and was stopped.", code="archive.time")
    if outcome.end != "well":
        raise UnpackRefused("Unpacking failed on this zip archive.", code="archive.failed")
    try:
        said = json.loads(outcome.output)
    except (ValueError, RecursionError):
        said = None
    match said:
        case {"files": list(files)} if all(isinstance(path, str) for path in files):
            return files
        case {"code": str(code), "reason": str(reason)}:
            _refuse(code, reason)
    raise UnpackRefused("Unpacking failed on this zip archive.", code="archive.failed")


def _refuse(code: str, reason: str) -> NoReturn:
    if code == "storage.full":
        raise StorageFull(f"{reason}.")
    raise UnpackRefused(f"{reason}.", code=code if code.startswith("archive.") else None)


def _regular_files(folder: Path, prefix: str = "") -> Iterator[str]:
    """Paths of all files; raises `UnpackRefused` for anything but plain files of one name, and folders."""
    with os.scandir(folder) as entries:
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                yield from _regular_files(folder / entry.name, f"{prefix}{entry.name}/")
            elif stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
                yield f"{prefix}{entry.name}"
            else:
                raise UnpackRefused("Unpacking left a link behind.", code="archive.failed")
