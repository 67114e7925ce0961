"""A zip, read so that no two readers can see different files in it. Nothing is unpacked here.

Accepted: entries one after the other from the first byte to the directory, stored or deflated, each described by
its local header and the directory in the same words. Stricter than the readers in use: gaps, overlaps and
prefixes are refused, since they are where zip bombs and files with two faces live.
"""

import stat
import struct
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from registry.quarantine.formats.errors import FormatError
from registry.quarantine.formats.members import MAX_DEPTH
from registry.quarantine.formats.reader import Reader
from registry.quarantine.formats.tensors import shown, unprintable
from registry.quarantine.formats.zip_directory import (
    DESCRIPTOR,
    FULL32,
    STORED,
    UTF8,
    ZIP64_EXTRA,
    Listed,
    damaged,
    find_directory,
    read_directory,
    read_extras,
    wrong,
)

LOCAL: Final = struct.Struct("<4s5H3I2H")
MAX_PATH: Final = 1_024
MAX_NAME: Final = 255
EMPTY_DEFLATED: Final = 2


@dataclass(frozen=True, slots=True)
class Entry:
    """One file or folder in a zip: `path` with `/` between its parts; `packed` and `size` in bytes; `header`,
    `data` and `end` are places in the archive.
    """

    path: str
    is_folder: bool
    method: int
    crc: int
    packed: int
    size: int
    header: int
    data: int
    end: int


def read_entries(fd: int, size: int) -> tuple[Entry, ...]:
    """All entries in the order of their data; raises `FormatError` (`archive.…`) with the first thing wrong."""
    reader = Reader(fd, size, "archive")
    directory = find_directory(reader)
    listed = sorted(read_directory(reader, directory), key=lambda one: one.header)
    if listed[0].header:
        raise wrong("Something stands before the first file of the zip archive", 0, "archive.prefix")
    entries = [_entry(reader, one, directory.offset) for one in listed]
    _check_tiling(entries, directory.offset)
    _check_paths(entries)
    return tuple(entries)


# --- the local headers -------------------------------------------------------------------------------


def _entry(reader: Reader, listed: Listed, limit: int) -> Entry:
    """The entry whose local header says the same as the directory; its data must end before `limit`."""
    at = listed.header
    if at + LOCAL.size > limit:
        raise damaged(min(at, reader.size))
    magic, _, flags, method, _, _, crc, packed, size, name_length, extra_length = LOCAL.unpack(
        reader.at(at, LOCAL.size)
    )
    if magic != b"PK\x03\x04":
        raise damaged(at)
    raw = reader.at(at + LOCAL.size, name_length + extra_length)
    extras = read_extras(raw[name_length:], at)
    packed, size = _local_sizes(packed, size, extras, at)
    told = (raw[:name_length], flags, method)
    if told != (listed.raw_name, listed.flags, listed.method) or not _same_numbers(
        (crc, packed, size), listed
    ):
        raise wrong(
            f"The zip archive describes “{listed.said}” in two ways: readers would disagree on it",
            at,
            "archive.disagree",
        )
    data = at + LOCAL.size + name_length + extra_length
    end = data + listed.packed
    if end > limit:
        raise damaged(at)
    end += _descriptor(reader, listed, end, ZIP64_EXTRA in extras) if flags & DESCRIPTOR else 0
    return _named(listed, data, end)


def _local_sizes(packed: int, size: int, extras: dict[int, bytes], at: int) -> tuple[int, int]:
    """The local header's sizes; with the large field both stand there, whatever else is marked."""
    if ZIP64_EXTRA not in extras:
        return packed, size
    raw = extras[ZIP64_EXTRA]
    if len(raw) != 16 or not {packed, size} <= {0, FULL32}:
        raise wrong("An entry of the zip archive has a damaged header", at, "archive.zip64")
    size, packed = struct.unpack("<2Q", raw)
    return packed, size


def _same_numbers(told: tuple[int, int, int], listed: Listed) -> bool:
    """Where a descriptor follows the data, the local header may leave the numbers to it."""
    true = (listed.crc, listed.packed, listed.size)
    return told == true or (listed.flags & DESCRIPTOR != 0 and told == (0, 0, 0))


def _descriptor(reader: Reader, listed: Listed, at: int, large: bool) -> int:
    """The length of the descriptor at `at`, which must repeat the directory's numbers; `large` ones in 64 bits."""
    form64 = large or max(listed.packed, listed.size) > FULL32
    numbers = struct.pack("<I2Q" if form64 else "<3I", listed.crc, listed.packed, listed.size)
    for form in (b"PK\x07\x08" + numbers, numbers):
        if at + len(form) <= reader.size and reader.at(at, len(form)) == form:
            return len(form)
    raise wrong(
        f"What follows “{listed.said}” in the zip archive disagrees with its directory",
        at,
        "archive.disagree",
    )


def _named(listed: Listed, data: int, end: int) -> Entry:
    path = _path(listed)
    is_folder = path.endswith("/")
    kind = stat.S_IFMT(listed.mode)
    if kind not in (0, stat.S_IFDIR if is_folder else stat.S_IFREG):
        what = "a link" if kind == stat.S_IFLNK else "no ordinary file"
        raise wrong(f"“{shown(path)}” is {what}, which is not allowed", listed.header, "archive.link")
    if not is_folder and listed.mode & (stat.S_ISUID | stat.S_ISGID):
        raise wrong(f"“{shown(path)}” would run with other rights", listed.header, "archive.mode")
    if is_folder and (listed.size or listed.crc or listed.packed > EMPTY_DEFLATED):
        raise wrong(f"The folder “{shown(path)}” has content", listed.header, "archive.folder")
    if listed.method == STORED and listed.packed != listed.size:
        raise wrong(
            f"“{shown(path)}” has two sizes without being compressed", listed.header, "archive.disagree"
        )
    return Entry(
        path=path.rstrip("/"), is_folder=is_folder, method=listed.method, crc=listed.crc, packed=listed.packed,
        size=listed.size, header=listed.header, data=data, end=end,
    )  # fmt: skip


# --- the whole ---------------------------------------------------------------------------------------


def _check_tiling(entries: Sequence[Entry], end: int) -> None:
    """The entries must cover the archive up to `end`, where its directory begins."""
    for before, after in pairwise(entries):
        if before.end != after.header:
            raise _gap(before, after.header)
    if entries[-1].end != end:
        raise _gap(entries[-1], end)


def _gap(before: Entry, at: int) -> FormatError:
    if at < before.end:
        return wrong(
            f"“{shown(before.path)}” shares its bytes with another file: the zip archive is a bomb",
            at,
            "archive.overlap",
        )
    return wrong(
        f"There are bytes after “{shown(before.path)}” that belong to no file", before.end, "archive.gap"
    )


def _path(listed: Listed) -> str:
    """The decoded name, if it is one that leads to one place below the folder on every system."""
    try:
        path = listed.raw_name.decode("utf-8" if listed.flags & UTF8 else "ascii")
    except UnicodeDecodeError:
        raise wrong(f"The file name “{listed.said}” is not UTF-8", listed.header, "archive.name") from None
    parts = path.removesuffix("/").split("/")
    if bad := unprintable(path):
        why = f"has the character {bad}"
    elif path.startswith(("/", "~")) or "\\" in path or ":" in path or {"", ".", ".."} & set(parts):
        why = "does not lie inside the archive"
    elif len(parts) > MAX_DEPTH:
        why = f"lies in more than {MAX_DEPTH - 1} folders"
    elif len(path) > MAX_PATH or any(len(part.encode()) > MAX_NAME for part in parts):
        why = "is too long"
    elif len(_folded(path)) > MAX_PATH:  # one character can become eighteen
        why = "is too long when it is compared with others"
    elif any(part != part.strip().rstrip(".") for part in parts):
        why = "begins or ends with a space, or ends with a dot"
    else:
        return path
    raise wrong(f"The file name “{shown(path)}” {why}", listed.header, "archive.name")


def _check_paths(entries: Sequence[Entry]) -> None:
    """No name twice, not even in another case or spelling, and no file that is a folder as well."""
    files: dict[str, Entry] = {}
    folders: dict[str, str] = {}
    for entry in entries:
        folded = _folded(entry.path)
        if folded in files and not (entry.is_folder and files[folded].is_folder):
            raise _twice(entry)
        files[folded] = entry
        parts = entry.path.split("/")
        for depth in range(1, len(parts) + entry.is_folder):
            folder = "/".join(parts[:depth])
            if folders.setdefault(_folded(folder), folder) != folder:
                raise _twice(entry)
    for folded in folders:
        if folded in files and not files[folded].is_folder:
            raise _twice(files[folded])


def _folded(path: str) -> str:
    return unicodedata.normalize("NFKC", path).casefold()


def _twice(entry: Entry) -> FormatError:
    return wrong(f"The zip archive has “{shown(entry.path)}” twice", entry.header, "archive.twice")
