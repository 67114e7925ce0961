"""What a file really is, by its content; its name is never looked at.

Sources: the GGUF and safetensors specifications; PKWARE APPNOTE (end of central directory); Python's
`pickletools` (protocol opcodes); Git LFS pointer specification v1; file(1)'s magic for the others.
"""

import re
from dataclasses import dataclass
from typing import Final

from registry.quarantine.formats.errors import FormatError
from registry.quarantine.formats.reader import U64, Reader
from registry.quarantine.formats.safetensors import MAX_HEADER

HEAD: Final = 4_096
ZIP_TAIL: Final = 22 + 65_535
ZIP_END: Final = b"PK\x05\x06"

PICKLE: Final = "a Python pickle, which is a program and not a model file"

# (first bytes, code, plain words)
MAGICS: Final[tuple[tuple[bytes, str, str], ...]] = (
    (
        b"version https://git-lfs",
        "file.lfs_pointer",
        "a Git LFS pointer, not the model: fetch it with git lfs",
    ),
    (b"PK\x03\x04", "file.zip", "a zip archive"),
    (ZIP_END, "file.zip", "an empty zip archive"),
    (b"\x7fELF", "file.program", "a Linux program (ELF)"),
    (b"MZ", "file.program", "a Windows program"),
    (b"\xfe\xed\xfa", "file.program", "a macOS program"),
    (b"\xcf\xfa\xed\xfe", "file.program", "a macOS program"),
    (b"\xca\xfe\xba\xbe", "file.program", "a macOS program or a Java class"),
    (b"\x00asm", "file.program", "a WebAssembly program"),
    (b"#!", "file.program", "a script"),
    (b"\x1f\x8b", "file.archive", "a gzip archive: unpack it first"),
    (b"BZh", "file.archive", "a bzip2 archive: unpack it first"),
    (b"\xfd7zXZ\0", "file.archive", "an xz archive: unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "file.archive", "a 7-Zip archive: unpack it first"),
    (b"(\xb5/\xfd", "file.archive", "a zstd archive: unpack it first"),
    (b"Rar!", "file.archive", "a RAR archive: unpack it first"),
    (b"\x89HDF", "file.other_format", "an HDF5 file (Keras); only GGUF and safetensors are accepted"),
    (b"\x93NUMPY", "file.other_format", "a NumPy array; only GGUF and safetensors are accepted"),
    (b"ggjt", "file.old_format", "a GGML file from before GGUF: convert it to GGUF"),
    (b"tjgg", "file.old_format", "a GGML file from before GGUF: convert it to GGUF"),
    (b"lmgg", "file.old_format", "a GGML file from before GGUF: convert it to GGUF"),
    (b"fmgg", "file.old_format", "a GGML file from before GGUF: convert it to GGUF"),
    (b"algg", "file.old_format", "a GGML adapter from before GGUF: convert it to GGUF"),
    (b"FUGG", "gguf.endian", "a GGUF with its letters reversed, which no reader accepts"),
    (b"%PDF-", "file.document", "a PDF document"),
    (b"\x89PNG", "file.image", "a picture"),
    (b"\xff\xd8\xff", "file.image", "a picture"),
    (b"GIF8", "file.image", "a picture"),
    (b"SQLite format 3\0", "file.database", "a SQLite database"),
)
PICKLE_START: Final = re.compile(rb"\x80[\x02-\x05]|\(?c[A-Za-z_][\w.]*\n[A-Za-z_][\w.]*\n|\(dp\d|\(lp\d")
HTML: Final = re.compile(rb"\s*(?:<!doctype\s+html|<html|<head|<\?xml|<!--)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Detected:
    """`kind` is `gguf` or `safetensors`: what the file claims to be; the validator of that format decides."""

    kind: str


@dataclass(frozen=True, slots=True)
class NotAModel:
    """A file that is not of an accepted format, in words for its owner."""

    reason: str
    code: str
    offset: int | None = 0


def detect(fd: int, size: int) -> Detected | NotAModel:
    """Say what the `size` bytes behind `fd` are. Reads at most 4 KiB of the start and 64 KiB of the end."""
    if size == 0:
        return NotAModel("The file is empty", "file.empty", None)
    reader = Reader(fd, size, "file")
    try:
        head = reader.at(0, min(size, HEAD))
        kind = _kind(head, size)
        if kind is None:
            return _named(head, size)
        second = _second_face(reader, head)
    except FormatError as error:
        return NotAModel(error.reason, error.code, error.offset)
    return second or Detected(kind)


def _kind(head: bytes, size: int) -> str | None:
    """The accepted format that the first bytes claim."""
    if head.startswith(b"GGUF"):
        return "gguf"
    if size < 8 or head.startswith(b"PK"):
        return None
    (length,) = U64.unpack_from(head)
    plausible = 2 <= length <= MAX_HEADER * 8 and head[8:9] in (b"{", b"")
    return "safetensors" if plausible else None


def _named(head: bytes, size: int) -> NotAModel:
    """The plain name of something that is not accepted."""
    for magic, code, words in MAGICS:
        if head.startswith(magic):
            return NotAModel(f"This is {_torch(head) or words}", code)
    if PICKLE_START.match(head):
        return NotAModel(f"This is {PICKLE}", "file.pickle")
    if HTML.match(head):
        return NotAModel(
            "This is a web page, not the model: the download probably led to a sign-in or error page",
            "file.html",
        )
    if head.lstrip()[:1] in (b"{", b"["):
        return NotAModel("This is a JSON text, perhaps an error message, not the model", "file.json")
    if head[257:262] == b"ustar":
        return NotAModel("This is a tar archive: unpack it first", "file.archive", 257)
    if not head.strip(b"\0"):
        return NotAModel("The file begins with zeros only: the download is incomplete", "file.zeros")
    if size < 24:
        return NotAModel(f"The file has only {size} bytes, too few for any model", "file.short")
    return NotAModel("This is neither a GGUF nor a safetensors file", "file.unknown")


def _torch(head: bytes) -> str | None:
    """A zip that PyTorch wrote has its pickle as the first member."""
    if head.startswith(b"PK\x03\x04") and re.search(rb"data\.pkl|\.pkl", head[:512]):
        return f"a PyTorch archive with {PICKLE}"
    return None


def _second_face(reader: Reader, head: bytes) -> NotAModel | None:
    """A file that is an accepted format at its start and something else to another reader."""
    if (at := head[:1024].find(b"%PDF-")) >= 0:
        return NotAModel("The file is a PDF document as well", "file.polyglot", at)
    if head[257:265] in (b"ustar\x0000", b"ustar  \0"):
        return NotAModel("The file is a tar archive as well", "file.polyglot", 257)
    if reader.size > 32_774 and reader.at(32_769, 5) == b"CD001":
        return NotAModel("The file is a disc image as well", "file.polyglot", 32_769)
    end = _zip_end(reader)
    if end is not None:
        return NotAModel(
            "The file is a zip archive as well: readers would disagree on it", "file.polyglot", end
        )
    return None


def _zip_end(reader: Reader) -> int | None:
    """Where a zip's end record lies that ends, with its comment, exactly at the end of the file."""
    start = max(0, reader.size - ZIP_TAIL)
    tail = reader.at(start, reader.size - start)
    at = tail.rfind(ZIP_END)
    while at >= 0:
        if at + 22 <= len(tail) and at + 22 + int.from_bytes(tail[at + 20 : at + 22], "little") == len(tail):
            return start + at
        at = tail.rfind(ZIP_END, 0, at)
    return None
