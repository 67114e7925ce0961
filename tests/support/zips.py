"""Zip archives by a writer of our own, every field of which can be made to lie.

Source of the layout: PKWARE APPNOTE 6.3. `hostile_zips()` gives named cases with the code they are refused with.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests.support.pipelines import Files, ddpm, weights

UNIX = 3 << 8 | 20
FULL = 0xFFFF_FFFF


def deflated(data: bytes) -> bytes:
    """`data` as a raw Deflate stream."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return stream.compress(data) + stream.flush()


@dataclass(frozen=True)
class Packed:
    """One entry. `central` and `local` override what the directory and the local header say of it:
    name, flags, method, crc, packed, size, mode, extra, offset, disk, made_by.
    """

    name: bytes
    data: bytes = b"{}"
    method: int = 8
    flags: int = 0
    mode: int = 0o100644
    body: bytes | None = None
    after: bytes = b""
    central: dict[str, Any] = field(default_factory=dict)
    local: dict[str, Any] = field(default_factory=dict)

    def packed(self) -> bytes:
        """The bytes that stand in the archive."""
        if self.body is not None:
            return self.body
        return deflated(self.data) if self.method == 8 else self.data

    def facts(self) -> dict[str, Any]:
        """What is true of it."""
        return {
            "name": self.name, "flags": self.flags, "method": self.method, "crc": zlib.crc32(self.data),
            "packed": len(self.packed()), "size": len(self.data), "mode": self.mode, "extra": b"",
            "disk": 0, "made_by": UNIX, "needed": 20, "attributes": 0,
        }  # fmt: skip

    def both(self, **lies: Any) -> "Packed":
        """The same with one lie told in both places."""
        return replace(self, central=self.central | lies, local=self.local | lies)


@dataclass(frozen=True)
class Zip:
    """An archive to write. `entries` lie one after the other unless `central` gives one an `offset`."""

    entries: Sequence[Packed]
    prefix: bytes = b""
    gap: bytes = b""
    suffix: bytes = b""
    comment: bytes = b""
    count: int | None = None
    size: int | None = None
    offset: int | None = None
    disk: int = 0
    zip64: dict[str, int] | None = None

    def build(self) -> bytes:
        """The file."""
        made, offsets = self.prefix, []
        for entry in self.entries:
            offsets.append(len(made))
            made += local_header(entry.facts() | entry.local) + entry.packed() + entry.after
        made += self.gap
        directory = b"".join(
            central_header({"offset": offset} | entry.facts() | entry.central)
            for entry, offset in zip(self.entries, offsets, strict=True)
        )
        return made + directory + self._end(len(made), len(directory)) + self.suffix

    def _end(self, offset: int, size: int) -> bytes:
        true = {"count": len(self.entries), "size": size, "offset": offset}
        large = b"" if self.zip64 is None else end64(true | self.zip64, offset + size)
        count, size, offset = (
            given if given is not None else known
            for given, known in zip((self.count, self.size, self.offset), true.values(), strict=True)
        )
        return large + struct.pack(
            "<4s4H2IH", b"PK\5\6", self.disk, 0, count, count, size, offset, len(self.comment)
        ) + self.comment  # fmt: skip


def end64(facts: dict[str, int], at: int) -> bytes:
    """The large end record and its locator."""
    record = struct.pack(
        "<4sQ2H2I4Q", b"PK\6\6", facts.get("length", 44), UNIX, 45, 0, 0, facts["count"], facts["count"],
        facts["size"], facts["offset"],
    )  # fmt: skip
    return record + struct.pack("<4sIQI", b"PK\6\7", 0, facts.get("at", at), 1)


def local_header(said: dict[str, Any]) -> bytes:
    """A local header with name and extra field."""
    fixed = struct.pack(
        "<4s5H3I2H", b"PK\3\4", 20, said["flags"], said["method"], 0, 33, said["crc"], said["packed"], said["size"],
        len(said["name"]), len(said["extra"]),
    )  # fmt: skip
    return fixed + bytes(said["name"]) + bytes(said["extra"])


def central_header(said: dict[str, Any]) -> bytes:
    """An entry of the central directory."""
    fixed = struct.pack(
        "<4s6H3I5H2I", b"PK\1\2", said["made_by"], said["needed"], said["flags"], said["method"], 0, 33, said["crc"],
        said["packed"], said["size"], len(said["name"]), len(said["extra"]), 0, said["disk"], 0,
        said["mode"] << 16 | said["attributes"], said["offset"],
    )  # fmt: skip
    return fixed + bytes(said["name"]) + bytes(said["extra"])


def zipped(files: Files, top: str = "", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An ordinary archive, by Python's own writer."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for path, data in files.items():
            archive.writestr(f"{top}{path}", data)
    return out.getvalue()


def streamed(files: Files) -> bytes:
    """An archive written to a pipe: sizes come in descriptors after the data, as the macOS Finder does it."""

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.made = b""

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.made += bytes(data)
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return pipe.made


def large(files: Files) -> bytes:
    """An archive whose local headers are those of files beyond 4 GiB."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for path, data in files.items():
            with archive.open(path, "w", force_zip64=True) as entry:
                entry.write(data)
    return out.getvalue()


def large_directory(files: Files) -> bytes:
    """An archive whose directory and end record are in 64 bits too."""
    entries = []
    offset = 0
    for path, data in files.items():
        sizes = struct.pack("<2Q", len(data), len(data))
        told = {"packed": FULL, "size": FULL}
        entry = Packed(
            path.encode(), data, method=0,
            local=told | {"extra": struct.pack("<2H", 1, 16) + sizes},
            central=told | {"offset": FULL, "extra": struct.pack("<2H", 1, 24) + sizes + struct.pack("<Q", offset)},
        )  # fmt: skip
        offset += len(local_header(entry.facts() | entry.local)) + len(data)
        entries.append(entry)
    return Zip(entries, zip64={}, count=0xFFFF, size=FULL, offset=FULL).build()


def from_finder(files: Files) -> bytes:
    """An archive with what the macOS Finder adds."""
    extra: Files = {"m/.DS_Store": b"\0\0\0\1Bud1"}
    for path, data in files.items():
        folder, _, name = path.rpartition("/")
        extra |= {f"m/{path}": data, f"__MACOSX/m/{folder}/._{name}".replace("//", "/"): b"\0\5\26\7"}
    return streamed(extra)


@dataclass(frozen=True)
class ZipCase:
    """An archive that must be refused with `code`."""

    name: str
    data: bytes
    code: str


INDEX = Packed(b"model_index.json")
PART = Packed(b"unet/config.json", b'{"a": 1}')
BOMB = 40 << 20


def hostile_zips() -> Iterator[ZipCase]:
    """Archives that must be refused, before anything of them is written or without leaving it."""
    yield from _whole()
    yield from _names()
    yield from _headers()
    yield from _bombs()


def case(name: str, code: str, *entries: Packed, **lies: Any) -> ZipCase:
    """An archive of the index and `entries`."""
    return ZipCase(name, Zip((INDEX, *entries), **lies).build(), code)


def _whole() -> Iterator[ZipCase]:
    good = Zip((INDEX, PART)).build()
    yield ZipCase("nothing", b"", "archive.truncated")
    yield ZipCase("no zip", b"GGUF" * 20, "archive.truncated")
    yield ZipCase("cut off", good[:-30], "archive.truncated")
    yield ZipCase("cut in the end record", good[:-4], "archive.trailing")
    yield ZipCase("no entries", Zip(()).build(), "archive.empty")
    yield case("data after the end", "archive.trailing", PART, suffix=b"#!/bin/sh\n")
    yield ZipCase("another zip after the end", good + good, "archive.layout")
    yield case("comment", "archive.trailing", PART, comment=b"hello")
    yield case("end record in a comment", "archive.layout", PART, comment=good[-22:])
    yield case("script before the start", "archive.layout", PART, prefix=b"#!/bin/sh\n", offset=70)
    yield case("prefix with corrected offsets", "archive.prefix", PART, prefix=b"\x7fELF" + bytes(60))
    yield case("gap before the directory", "archive.gap", PART, gap=b"hidden bytes")
    yield case(
        "gap between entries", "archive.gap", replace(PART, after=b"hidden"), Packed(b"vae/config.json")
    )
    yield case("count too small", "archive.layout", PART, count=1)
    yield case("count too large", "archive.layout", PART, count=3)
    yield case("directory elsewhere", "archive.layout", PART, offset=0)
    yield case("directory longer", "archive.layout", PART, size=5_000)
    yield case("several volumes", "archive.volumes", PART, disk=1)
    yield case("entry on another volume", "archive.volumes", replace(PART, central={"disk": 1}))
    yield case("zip64 promised and absent", "archive.zip64", PART, count=0xFFFF)
    yield case("zip64 with another count", "archive.zip64", PART, zip64={"count": 9}, offset=FULL)
    yield case("zip64 with a huge count", "archive.entries", PART, zip64={"count": 2**40}, count=0xFFFF)
    yield case(
        "zip64 directory beyond the file", "archive.layout", PART, zip64={"offset": 2**62}, offset=FULL
    )
    yield case("zip64 locator that leads away", "archive.zip64", PART, zip64={"at": 3}, offset=FULL)
    yield case("zip64 record of another length", "archive.zip64", PART, zip64={"length": 2**63}, offset=FULL)
    yield case("zip64 record that nothing asks for", "archive.layout", PART, zip64={})
    yield case("endless directory", "archive.entries", PART, size=2**31, offset=0)
    many = [Packed(b"LICENSE-%d" % n, b"x", 0) for n in range(600)]
    yield ZipCase("too many files", Zip(many).build(), "archive.entries")
    yield ZipCase("too many entries", Zip(many * 3).build(), "archive.entries")


def _names() -> Iterator[ZipCase]:
    for path in (
        b"../evil", b"unet/../../evil", b"/etc/passwd", b"\\evil", b"unet\\evil", b"C:/evil", b"~/evil", b"unet//x",
        b"./x", b"unet/./x", b"..", b"x\0.json", b"x\n.json", b"x\x1b[31m", b"unet/x ", b"unet/x.", b" x",
        b"a" * 300, b"d/" * 600 + b"x", b"", b"/", b"con:stream",
    ):  # fmt: skip
        yield case(f"name {path[:40]!r}", "archive.name", Packed(path))
    yield case("name in an old code page", "archive.name", Packed("ä".encode("cp437")))
    yield case("name that is no UTF-8", "archive.name", Packed(b"\xff\xfe", flags=1 << 11))
    yield case("name with a direction mark", "archive.name", Packed("a\u202eb".encode(), flags=1 << 11))
    yield case(
        "second name in an extra field",
        "archive.header",
        PART.both(extra=struct.pack("<2HBI", 0x7075, 9, 1, 0) + b"evil"),
    )
    yield case("same name twice", "archive.twice", PART, PART)
    yield case("same name in other letters", "archive.twice", PART, replace(PART, name=b"UNET/config.json"))
    twins = [Packed(form.encode(), flags=1 << 11) for form in ("\u00e9.txt", "e\u0301.txt")]
    yield case("same name in another spelling", "archive.twice", *twins)
    yield case("file that is a folder too", "archive.twice", Packed(b"unet"), PART)
    yield case("folder that is a file before", "archive.twice", PART, Packed(b"unet"))
    yield case("symbolic link", "archive.link", Packed(b"unet/x", b"/etc/passwd", 0, mode=0o120777))
    yield case(
        "link of Windows", "archive.link", replace(PART, mode=0, central={"made_by": 20, "attributes": 0x400})
    )
    for name, kind in (
        ("device", 0o060644),
        ("character device", 0o020644),
        ("pipe", 0o010644),
        ("socket", 0o140644),
    ):
        yield case(name, "archive.link", replace(PART, mode=kind))
    yield case("folder by mode, file by name", "archive.link", replace(PART, mode=0o040755))
    yield case("file with the rights of its owner", "archive.mode", replace(PART, mode=0o104755))
    yield case("folder with content", "archive.folder", Packed(b"unet/", b"evil", 0, mode=0o040755))


def _headers() -> Iterator[ZipCase]:
    for name, lie in (
        ("name", {"name": b"unet/config.jsox"}),
        ("method", {"method": 0}),
        ("crc", {"crc": 1}),
        ("packed size", {"packed": 3}),
        ("size", {"size": 3}),
        ("flags", {"flags": 1 << 11}),
        ("zeros without a descriptor", {"crc": 0, "packed": 0, "size": 0}),
    ):
        yield case(f"local header with another {name}", "archive.disagree", replace(PART, local=lie))
    yield case("encrypted", "archive.encrypted", PART.both(flags=1))
    yield case("encrypted strongly", "archive.encrypted", PART.both(flags=1 << 6 | 1))
    yield case("encrypted directory", "archive.encrypted", PART.both(flags=1 << 13))
    yield case("encrypted with AES", "archive.encrypted", PART.both(method=99))
    yield case("patched data", "archive.flags", PART.both(flags=1 << 5))
    yield case("version of the future", "archive.flags", replace(PART, central={"needed": 84}))
    for method in (1, 6, 9, 12, 14, 93, 95, 98, 1_000):
        yield case(f"method {method}", "archive.method", PART.both(method=method))
    yield case("crc wrong in both", "archive.damaged", PART.both(crc=1))
    yield case("crc wrong, stored", "archive.damaged", replace(PART, method=0).both(crc=1))
    yield case("announces fewer bytes", "archive.damaged", PART.both(size=3))
    yield case("announces more bytes", "archive.damaged", PART.both(size=300))
    yield case("stored with two sizes", "archive.disagree", replace(PART, method=0).both(size=3))
    yield case("no deflate stream", "archive.damaged", replace(PART, body=b"\xff" * 20))
    yield case("stream cut off", "archive.damaged", replace(PART, body=deflated(PART.data)[:-2]))
    yield case(
        "data after the stream", "archive.damaged", replace(PART, body=deflated(PART.data) + b"hidden")
    )
    two = deflated(PART.data) + deflated(b"hidden")
    yield case("two streams", "archive.damaged", replace(PART, body=two))
    empty = {"crc": 0, "packed": 0, "size": 0}
    lying = struct.pack("<4s3I", b"PK\7\x08", 1, 2, 3)
    yield case("descriptor that lies", "archive.disagree", replace(PART, flags=8, local=empty, after=lying))
    huge = struct.pack("<2HQ", 1, 8, 2**40)
    yield case(
        "descriptor for a file too large for it",
        "archive.disagree",
        replace(PART, flags=8, local=empty, central={"size": FULL, "extra": huge}, after=lying),
    )
    yield case("descriptor missing", "archive.disagree", replace(PART, flags=8, local=empty))
    short = struct.pack("<2H", 1, 4) + bytes(4)
    yield case(
        "large field too short", "archive.zip64", replace(PART, central={"size": FULL, "extra": short})
    )
    yield case("large field missing", "archive.zip64", replace(PART, central={"size": FULL}))
    spare = struct.pack("<2HQ", 1, 8, 8)
    yield case("large field that nothing asks for", "archive.zip64", replace(PART, central={"extra": spare}))
    beyond = struct.pack("<2HQ", 1, 8, 2**60)
    yield case(
        "header beyond the file", "archive.layout", replace(PART, central={"offset": FULL, "extra": beyond})
    )
    packed = struct.pack("<2HQ", 1, 8, 2**60)
    yield case(
        "data beyond the file", "archive.disagree", replace(PART, central={"packed": FULL, "extra": packed})
    )
    yield case("extra field cut off", "archive.header", PART.both(extra=b"\1\0\xff\xff"))
    yield case("header inside data", "archive.layout", replace(PART, central={"offset": 5}))


def _bombs() -> Iterator[ZipCase]:
    yield case("bomb of zeros", "archive.bomb", Packed(b"unet/w.safetensors", bytes(BOMB)))
    small = [Packed(b"LICENSE-%d" % n, bytes(1 << 20)) for n in range(100)]
    yield case("bomb of many small files", "archive.bomb", *small)
    kernel = local_header(PART.facts()) + PART.packed()
    overlapping = [
        replace(PART, name=b"LICENSE-%d" % n, central={"offset": 0}, body=b"", local={}) for n in range(3)
    ]
    yield case("bomb of overlapping entries", "archive.disagree", *overlapping)
    inner = Packed(b"LICENSE", kernel, 0)
    start = len(local_header(INDEX.facts()) + INDEX.packed() + local_header(inner.facts()))
    quoted = replace(PART, body=b"", central={"offset": start})
    lying = Zip((INDEX, inner, quoted)).build()
    yield ZipCase("entry quoted by another", lying, "archive.disagree")
    yield ZipCase("entry inside another", _inside(), "archive.overlap")
    nested = zipped({"a": bytes(BOMB)})
    yield case("zip in a zip, larger than its limit", "archive.size", Packed(b"x.zip", nested * 40, 0))


def _inside() -> bytes:
    """Two entries that both are what they say, one of them in the stored data of the other."""
    hidden = local_header(PART.facts()) + PART.packed()
    outer = Packed(b"LICENSE", hidden, 0)
    at = len(local_header(outer.facts()))
    whole = local_header(outer.facts()) + hidden
    directory = central_header({"offset": 0} | outer.facts()) + central_header({"offset": at} | PART.facts())
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 2, 2, len(directory), len(whole), 0)
    return whole + directory + end


def benign_zips() -> dict[str, tuple[bytes, Files]]:
    """Archives that must unpack, with the files that come out."""
    plain = ddpm()
    sparse = plain | {"unet/extra.safetensors": weights({"x": (400, 400)})}
    return {
        "deflated": (zipped(plain), plain),
        "stored": (zipped(plain, method=zipfile.ZIP_STORED), plain),
        "one folder at the top": (zipped(plain, "my model/"), plain),
        "written to a pipe": (streamed(plain), plain),
        "with 64-bit headers": (large(plain), plain),
        "with a 64-bit directory": (large_directory(plain), plain),
        "from the Finder": (from_finder(plain), plain),
        "with folders": (Zip((
            Packed(b"m/", b"", 0, mode=0o040755), Packed(b"m/model_index.json"),
            Packed(b"m/unet/", b"", 8, mode=0o040755), Packed(b"m/unet/config.json", b"{ }"),
        )).build(), {"model_index.json": b"{}", "unet/config.json": b"{ }"}),
        "from Windows": (Zip((
            Packed(b"model_index.json", mode=0, central={"made_by": 20, "attributes": 0x20}),
            Packed(b"unet/config.json", mode=0, central={"made_by": 20, "attributes": 0x20}),
        )).build(), {"model_index.json": b"{}", "unet/config.json": b"{}"}),
        "larger than a piece": (zipped(sparse), sparse),
        "a model in parts": (zipped({"m-00001-of-00002.gguf": b"GGUF1", "m-00002-of-00002.gguf": b"GGUF2"}),
                             {"m-00001-of-00002.gguf": b"GGUF1", "m-00002-of-00002.gguf": b"GGUF2"}),
        "an empty file and a non-ASCII name": (zipped({"model_index.json": b"{}", "größe.txt": b""}),
                                               {"model_index.json": b"{}", "größe.txt": b""}),
    }  # fmt: skip
