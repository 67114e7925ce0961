"""safetensors: what is accepted tiles the file and reads the same by the reference reader."""

import random
import struct
from collections.abc import Iterator
from typing import Any

from safetensors import deserialize

from registry.quarantine.formats.safetensors import BITS, SafetensorsFile, read_safetensors
from tests.fuzz.target import INTERESTING, Target, opened, refused
from tests.fuzz.whole import check_model
from tests.support import hostile_models as files

LARGEST_SEED = 4_096
# below a byte, which the reference reader's Python part does not name
UNNAMED = {"F4", "F6_E2M3", "F6_E3M2"}
NAMES = ("a", "b", "weight", "", "ä", "\u202e", "x" * 1_030, "__metadata__")
ODD: tuple[Any, ...] = (None, True, -1, 1.5, "F32", [], {}, [[1]], 2**64, "\ud800", [0, 16, 32])


def check(data: bytes) -> bool:
    """Raise on a breach; whether `data` was accepted."""
    found: list[SafetensorsFile] = []
    with opened(data) as (fd,):
        accepted = not refused(lambda: found.append(read_safetensors(fd, len(data))), len(data))
    if accepted:
        _check_accepted(found[0], data)
    return check_model(data) or accepted


def _check_accepted(found: SafetensorsFile, data: bytes) -> None:
    at = found.data_offset
    for tensor in found.tensors:
        assert tensor.offset == at, "tensors do not tile the file"
        at = tensor.end
    assert at == len(data), "bytes belong to no tensor"
    if any(tensor.type in UNNAMED for tensor in found.tensors):
        return
    ours = {one.name: (list(one.dims), one.type, data[one.offset : one.end]) for one in found.tensors}
    read = deserialize(data)  # type: ignore[no-untyped-call]
    theirs = {name: (info["shape"], info["dtype"], bytes(info["data"])) for name, info in read}
    assert ours == theirs, "the reference reader sees other tensors"


def seeds() -> Iterator[bytes]:
    """Small cases of the generators, sound and hostile."""
    for case in (*files.benign(), *files.hostile()):
        if case.data[8:9] == b"{" and len(case.data) <= LARGEST_SEED:
            yield case.data


def build(chance: random.Random) -> bytes:
    """A file of random tensors in which few things are wrong."""
    at = 0
    header: dict[str, Any] = {}
    if chance.random() < 0.3:
        header["__metadata__"] = {chance.choice(NAMES): chance.choice(NAMES), "format": "pt"}
    for number in range(chance.randrange(4)):
        dtype = chance.choice(tuple(BITS))
        shape = [chance.choice((1, 2, 4, 8, 0)) for _ in range(chance.randrange(4))]
        nbytes = _nbytes(dtype, shape)
        name = chance.choice(NAMES) if chance.random() < 0.3 else f"t{number}"
        header[name] = _entry(chance, dtype, shape, at, at + nbytes)
        at += nbytes
    return files.safetensors(header, bytes(chance.choices(range(256), k=min(at, 4_096))))


def _nbytes(dtype: str, shape: list[int]) -> int:
    bits = BITS[dtype]
    for dim in shape:
        bits *= dim
    return bits // 8


def _entry(chance: random.Random, dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    entry: dict[str, Any] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    if chance.random() < 0.2:
        entry[chance.choice((*entry, "more"))] = chance.choice((*ODD, *INTERESTING))
    return entry


def aligned(data: bytes) -> bytes:
    """The same with the length of a header that ends with its last entry."""
    text = data[8:]
    return struct.pack("<Q", text.find(b"}}") + 2) + text


TARGET = Target("safetensors", check, seeds, build, aligned)
