"""A zip's own list of its files: the end records and the central directory.

Source: PKWARE APPNOTE 6.3, sections 4.3.12 to 4.3.16 and 4.5.3 (sizes in 64 bits). The end record must be the last
bytes of the file, without a comment, and all parts before it must lie where they say.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from registry.quarantine.formats.errors import FormatError
from registry.quarantine.formats.reader import Reader
from registry.quarantine.formats.tensors import shown

# files and folders, with a second one for each that the Finder adds
MAX_ENTRIES: Final = 1_200
MAX_DIRECTORY: Final = 4 << 20

END: Final = struct.Struct("<4s4H2IH")
END64: Final = struct.Struct("<4sQ2H2I4Q")
LOCATOR: Final = struct.Struct("<4sIQI")
CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
FULL16: Final = 0xFFFF
FULL32: Final = 0xFFFF_FFFF

STORED: Final = 0
DEFLATED: Final = 8
METHODS: Final[Mapping[int, str]] = {
    1: "Shrink", 6: "Implode", 9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "xz",
}  # fmt: skip
ENCRYPTED: Final = 1 << 0 | 1 << 6 | 1 << 13
AES: Final = 99
DESCRIPTOR: Final = 1 << 3
UTF8: Final = 1 << 11
KNOWN_FLAGS: Final = 0b110 | DESCRIPTOR | UTF8
# version 6.3 of the specification; what needs a later one has features that nobody reads
MAX_VERSION: Final = 63
ZIP64_EXTRA: Final = 0x0001
UNICODE_PATH: Final = 0x7075
REPARSE_POINT: Final = 0x400


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry as the central directory tells it; `packed`, `size` and `header` (its place) in bytes, `mode` of
    Unix or 0.
    """

    raw_name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    header: int
    mode: int

    @property
    def said(self) -> str:
        """Its name as it may stand in a sentence."""
        return shown(self.raw_name.decode("utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class Directory:
    """Where the central directory lies, in bytes, and how many entries it has."""

    offset: int
    size: int
    count: int
    end: int


# --- the end records ---------------------------------------------------------------------------------


def find_directory(reader: Reader) -> Directory:
    """Where the directory lies, by the end record; raises `FormatError`."""
    if reader.size < END.size:
        raise wrong("It is too short for a zip archive", 0, "archive.truncated")
    at = reader.size - END.size
    magic, disk, first, here, count, size, offset, comment = END.unpack(reader.at(at, END.size))
    if magic != b"PK\x05\x06":
        raise _no_end(reader)
    if comment:
        raise wrong("The zip archive is cut off inside its comment", at, "archive.trailing")
    if FULL16 in (here, count, disk, first) or FULL32 in (size, offset):
        found = _directory64(reader, at)
        if (count not in (FULL16, found.count) or size not in (FULL32, found.size)
                or offset not in (FULL32, found.offset)):  # fmt: skip
            raise wrong("Its two end records disagree", at, "archive.zip64")
    elif disk or first or here != count:
        raise _split(at)
    else:
        found = Directory(offset, size, count, at)
    _check_directory(found)
    return found


def _directory64(reader: Reader, at: int) -> Directory:
    """The directory by the larger end record, which must lie right before its locator."""
    locator = at - LOCATOR.size
    start = locator - END64.size
    if start < 0:
        raise wrong("Its large end record is missing", at, "archive.zip64")
    magic, disk, offset, disks = LOCATOR.unpack(reader.at(locator, LOCATOR.size))
    if magic != b"PK\x06\x07" or disk or disks > 1 or offset != start:
        raise wrong("Its large end record is not where it should be", locator, "archive.zip64")
    magic, length, _, _, number, first, here, count, size, directory = END64.unpack(
        reader.at(start, END64.size)
    )
    if magic != b"PK\x06\x06" or length != END64.size - 12:
        raise wrong("Its large end record is not well-formed", start, "archive.zip64")
    if number or first or here != count:
        raise _split(start)
    return Directory(directory, size, count, start)


def _check_directory(found: Directory) -> None:
    if not found.count:
        raise wrong("The zip archive is empty", found.end, "archive.empty")
    if found.count > MAX_ENTRIES:
        raise wrong(
            f"The zip archive has {found.count:,} entries; at most {MAX_ENTRIES:,} are allowed",
            found.end,
            "archive.entries",
        )
    if found.size > MAX_DIRECTORY:
        raise wrong("The list of its files is far too long", found.end, "archive.entries")
    if found.offset + found.size != found.end:
        raise wrong(
            "The list of its files does not end where the end record begins", found.end, "archive.layout"
        )


def _no_end(reader: Reader) -> FormatError:
    """Something follows the end record, or there is none."""
    tail = reader.at(max(0, reader.size - END.size - FULL16), min(reader.size, END.size + FULL16))
    if b"PK\x05\x06" in tail:
        return wrong(
            "Something follows the end of the zip archive: a comment or another file. Make it again without",
            reader.size,
            "archive.trailing",
        )
    return wrong("The zip archive has no end: the upload is incomplete", reader.size, "archive.truncated")


# --- the central directory ---------------------------------------------------------------------------


def read_directory(reader: Reader, directory: Directory) -> Iterator[Listed]:
    """The entries in the order of the directory, which they must tile; raises `FormatError`."""
    raw = reader.at(directory.offset, directory.size)
    at = 0
    for _ in range(directory.count):
        if at + CENTRAL.size > len(raw):
            raise damaged(directory.offset + at)
        fields = CENTRAL.unpack_from(raw, at)
        name_end = at + CENTRAL.size + fields[10]
        extra_end = name_end + fields[11]
        if fields[0] != b"PK\x01\x02" or extra_end + fields[12] > len(raw):
            raise damaged(directory.offset + at)
        where = directory.offset + at
        yield _one_listed(fields, raw[at + CENTRAL.size : name_end], raw[name_end:extra_end], where)
        at = extra_end + fields[12]
    if at != len(raw):
        raise damaged(directory.offset + at)


def _one_listed(fields: Sequence[int], name: bytes, extra: bytes, where: int) -> Listed:
    (_, made_by, needed, flags, method, _, _, crc, packed, size, _, _, _, disk, _, attributes, header) = (
        fields
    )
    wanted = [value == FULL32 for value in (size, packed, header)]
    large = _large(read_extras(extra, where), wanted, where)
    size, packed, header = (
        next(large) if missing else value
        for missing, value in zip(wanted, (size, packed, header), strict=True)
    )
    if disk:
        raise _split(where)
    _check_features(needed & 0xFF, flags, method, where)
    if attributes & REPARSE_POINT and made_by >> 8 in (0, 10, 11):
        raise wrong("The zip archive holds a link, which is not allowed", where, "archive.link")
    return Listed(name, flags, method, crc, packed, size, header, attributes >> 16)


def _check_features(needed: int, flags: int, method: int, where: int) -> None:
    if flags & ENCRYPTED or method == AES:
        raise wrong(
            "The zip archive is encrypted. Make it again without a password", where, "archive.encrypted"
        )
    if flags & ~KNOWN_FLAGS or needed > MAX_VERSION:
        raise wrong("The zip archive uses a feature that is not supported", where, "archive.flags")
    if method not in (STORED, DEFLATED):
        name = METHODS.get(method, f"number {method}")
        raise wrong(
            f"The zip archive is compressed with the method {name}. Make it again with the usual one (Deflate)",
            where,
            "archive.method",
        )


def read_extras(raw: bytes, where: int) -> dict[int, bytes]:
    """The extra fields by number; they must tile their place, and each come once."""
    found: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(raw):
        number, length = struct.unpack_from("<2H", raw, at)
        if number in found or number == UNICODE_PATH:
            raise wrong("An entry of the zip archive is named twice", where, "archive.header")
        found[number] = raw[at + 4 : at + 4 + length]
        at += 4 + length
    if at != len(raw):
        raise wrong("An entry of the zip archive has a damaged header", where, "archive.header")
    return found


def _large(extras: dict[int, bytes], wanted: Sequence[bool], where: int) -> Iterator[int]:
    """The 64-bit values that stand in for those which are `wanted`, exactly as many."""
    raw = extras.get(ZIP64_EXTRA, b"")
    if len(raw) != 8 * sum(wanted):
        raise wrong("An entry of the zip archive has a damaged header", where, "archive.zip64")
    return iter(struct.unpack(f"<{sum(wanted)}Q", raw))


def damaged(at: int) -> FormatError:
    """The error for places that do not fit together."""
    return wrong("The zip archive is damaged: its list of files leads nowhere", at, "archive.layout")


def wrong(reason: str, offset: int, code: str) -> FormatError:
    """A refusal of the archive."""
    return FormatError(reason, offset, code)


def _split(at: int) -> FormatError:
    return wrong("This is one volume of several. Make the zip archive in one piece", at, "archive.volumes")
