"""The directory of a zip: of an accepted one, Python's own reader sees the same files in the same places."""

import io
import random
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from registry.quarantine.formats.zip_archive import Entry, read_entries
from tests.fuzz.target import Target, opened, refused
from tests.support.zips import Packed, Zip, benign_zips, hostile_zips

LARGEST_SEED = 4_096
NAMES = (
    b"model_index.json",
    b"unet/",
    b"unet/config.json",
    b"a",
    b"A",
    b"../a",
    b"\xc3\xa9.txt",
    b"",
    b"a/b/c",
)
# what fits the narrowest field
SMALL = (0, 1, 2, 8, 20, 63, 255, 0xFFFF)
LIES = ("crc", "packed", "size", "flags", "method", "offset", "needed", "disk", "attributes")


def check(data: bytes) -> bool:
    """Raise on a breach; whether `data` was accepted."""
    found: list[tuple[Entry, ...]] = []
    with opened(data) as (fd,):
        if refused(lambda: found.append(read_entries(fd, len(data))), len(data)):
            return False
    entries = found[0]
    assert entries[0].header == 0
    assert all(before.end == after.header for before, after in pairwise(entries))
    ours = [
        (one.path, one.is_folder, one.method, one.crc, one.packed, one.size, one.header) for one in entries
    ]
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        theirs = [
            (one.filename.rstrip("/"), one.is_dir(), one.compress_type, one.CRC, one.compress_size, one.file_size,
             one.header_offset)
            for one in sorted(archive.infolist(), key=lambda one: one.header_offset)
        ]  # fmt: skip
    assert ours == theirs, "Python's reader sees other files"
    return True


def seeds() -> Iterator[bytes]:
    """Small archives, sound and hostile."""
    for data in (*(data for data, _ in benign_zips().values()), *(case.data for case in hostile_zips())):
        if len(data) <= LARGEST_SEED:
            yield data


def build(chance: random.Random) -> bytes:
    """An archive of random entries in which few things are wrong."""
    whole = Zip([_entry(chance) for _ in range(chance.randrange(1, 4))])
    if not _rarely(chance):
        return whole.build()
    lie = chance.choice(SMALL)
    return chance.choice(
        (replace(whole, count=lie), replace(whole, size=lie), replace(whole, offset=lie))
    ).build()


def _entry(chance: random.Random) -> Packed:
    lie = {chance.choice(LIES): chance.choice(SMALL)} if _rarely(chance) else {}
    flags = chance.choice((0, 0, 8, 1 << 11))
    whole = Packed(chance.choice(NAMES), b"x" * chance.randrange(4), chance.choice((0, 8)), flags=flags)
    return chance.choice((replace(whole, central=lie), replace(whole, local=lie)))


def _rarely(chance: random.Random) -> bool:
    return chance.random() < 0.2


TARGET = Target("archive", check, seeds, build)
