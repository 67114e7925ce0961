"""GGUF, read as an enemy would have written it.

Source: ggml `docs/gguf.md` and `gguf.cpp`. Accepted: versions 2 and 3, little endian, tensors in the order of
their data, tiling the file without gap, overlap or rest. Stricter than the readers in use, never laxer:
what one reader repairs and another takes literally is refused.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from registry.quarantine.formats import gguf_types as limits
from registry.quarantine.formats.errors import FormatError
from registry.quarantine.formats.gguf_facts import Facts, read_facts, refuse_lone_part
from registry.quarantine.formats.gguf_values import Value, ValueReader, decoded
from registry.quarantine.formats.reader import Cursor, Reader
from registry.quarantine.formats.tensors import Tensor, checked_product, shown

MAGIC = b"GGUF"
TENSOR_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/+@\-\[\]()]*")


@dataclass(frozen=True)
class GgufPart:
    """A GGUF whose header holds together: a whole model, or one part of one.

    `data_offset`, `alignment` and `size` are bytes; `path` is its name in a set.
    """

    version: int
    size: int
    alignment: int
    data_offset: int
    metadata: Mapping[str, Value]
    tensors: tuple[Tensor, ...]
    path: str = ""

    @property
    def format(self) -> str:
        """Always `"gguf"`."""
        return "gguf"


@dataclass(frozen=True)
class GgufFile:
    """A model in one GGUF; what the weights do nobody can tell from here.

    Counts are numbers of elements, layers or tokens. A fact that the header does not give is `None`.
    """

    part: GgufPart
    facts: Facts


def read_gguf(fd: int, size: int) -> GgufFile:
    """Validate the model of `size` bytes behind `fd`; raises `FormatError` with the first thing wrong."""
    part = read_part(fd, size)
    if not part.tensors:
        raise FormatError("The file holds no tensors: a vocabulary, not a model", 8, "gguf.tensor.none")
    refuse_lone_part(part.metadata)
    return GgufFile(part, read_facts(part.metadata, part.tensors))


def read_part(fd: int, size: int, path: str = "") -> GgufPart:
    """Validate a GGUF by itself, without asking for a whole model; raises `FormatError`."""
    reader = Reader(fd, size, "gguf")
    cursor = Cursor(reader, limits.MAX_HEADER)
    version, tensor_count, kv_count = _preamble(cursor)
    metadata = ValueReader(cursor).read_all(kv_count)
    alignment = _alignment(metadata)
    declared = _declarations(cursor, tensor_count, alignment)
    data_offset = _padded(cursor.offset, alignment)
    tensors = _placed(declared, reader, cursor.offset, data_offset, alignment)
    return GgufPart(version, size, alignment, min(data_offset, size), metadata, tensors, path)


def _preamble(cursor: Cursor) -> tuple[int, int, int]:
    """Version, number of tensors and number of keys."""
    if cursor.take(4) != MAGIC:
        raise FormatError("This is not a GGUF: it does not begin with the letters GGUF", 0, "gguf.magic")
    version = cursor.u32()
    if version not in (2, 3):
        raise _wrong_version(version)
    tensor_count = cursor.u64()
    kv_count = cursor.u64()
    _bounded(tensor_count, limits.MAX_TENSORS, "tensors", 8, "gguf.tensor.count")
    _bounded(kv_count, limits.MAX_KV, "metadata entries", 16, "gguf.kv.count")
    return version, tensor_count, kv_count


def _wrong_version(version: int) -> FormatError:
    if version == 1:
        return FormatError(
            "This is GGUF version 1, which is no longer read; convert it to version 3", 4, "gguf.version"
        )
    if int.from_bytes(version.to_bytes(4, "little"), "big") in (1, 2, 3):
        return FormatError(
            "This GGUF is big-endian, made for another kind of processor; convert it", 4, "gguf.endian"
        )
    return FormatError(f"GGUF version {version:,} is not known; 2 and 3 are", 4, "gguf.version")


def _bounded(count: int, most: int, what: str, offset: int, code: str) -> None:
    if count > most:
        raise FormatError(
            f"The header announces {count:,} {what}; at most {most:,} are allowed", offset, code
        )


def _alignment(metadata: Mapping[str, Value]) -> int:
    """`general.alignment` in bytes: by the specification a multiple of 8, here also a power of two."""
    value = metadata.get("general.alignment", 32)
    legal = isinstance(value, int) and not isinstance(value, bool) and 8 <= value <= limits.MAX_ALIGNMENT
    if not isinstance(value, int) or not legal or value & (value - 1):
        raise FormatError(
            f"The alignment is {shown(str(value))}; it must be a power of two from 8 to "
            f"{limits.MAX_ALIGNMENT:,}",
            None,
            "gguf.alignment",
        )
    return value


@dataclass(frozen=True, slots=True)
class _Declared:
    """A tensor as declared: `relative` counts from the start of the data, `at` from that of the file."""

    name: str
    dims: tuple[int, ...]
    type: str
    nbytes: int
    relative: int
    at: int


def _declarations(cursor: Cursor, count: int, alignment: int) -> list[_Declared]:
    names: set[str] = set()
    found: list[_Declared] = []
    for _ in range(count):
        one = _declaration(cursor, alignment)
        if one.name in names:
            raise FormatError(f"Two tensors are called “{one.name}”", one.at, "gguf.tensor.duplicate")
        names.add(one.name)
        found.append(one)
    return found


def _declaration(cursor: Cursor, alignment: int) -> _Declared:
    start = cursor.offset
    name = _tensor_name(cursor)
    dims = _dims(cursor, name)
    at = cursor.offset
    kind = cursor.u32()
    if kind not in limits.TENSOR_TYPES:
        raise FormatError(f"The tensor “{name}” has the unknown type {kind:,}", at, "gguf.tensor.type")
    nbytes = _nbytes(name, dims, kind, at)
    relative = cursor.u64()
    if relative % alignment:
        raise FormatError(
            f"The tensor “{name}” begins at byte {relative:,} of the data, which is not a multiple of "
            f"{alignment:,}",
            at + 4,
            "gguf.tensor.misaligned",
        )
    return _Declared(name, dims, limits.TENSOR_TYPES[kind][0], nbytes, relative, start)


def _tensor_name(cursor: Cursor) -> str:
    start = cursor.offset
    length = cursor.u64()
    if not 1 <= length <= limits.MAX_TENSOR_NAME:
        raise FormatError(
            f"A tensor name announces {length:,} bytes; 1 to {limits.MAX_TENSOR_NAME} are allowed",
            start,
            "gguf.tensor.name",
        )
    name = decoded(cursor.take(length), start, "A tensor name", "gguf.tensor.name")
    if not TENSOR_NAME.fullmatch(name):
        raise FormatError(
            f"The tensor name “{shown(name)}” has characters that do not belong in one",
            start,
            "gguf.tensor.name",
        )
    return name


def _dims(cursor: Cursor, name: str) -> tuple[int, ...]:
    start = cursor.offset
    count = cursor.u32()
    if not 1 <= count <= 4:
        raise FormatError(
            f"The tensor “{name}” has {count:,} dimensions; 1 to 4 are allowed", start, "gguf.tensor.dims"
        )
    dims = tuple(cursor.u64() for _ in range(count))
    if not all(dims):
        raise FormatError(f"The tensor “{name}” has a dimension of size 0", start + 4, "gguf.tensor.dims")
    if checked_product(dims) is None:
        raise FormatError(
            f"The tensor “{name}” would have more numbers than 64 bits can count",
            start + 4,
            "gguf.tensor.size",
        )
    return dims


def _nbytes(name: str, dims: tuple[int, ...], kind: int, at: int) -> int:
    label, block, block_bytes = limits.TENSOR_TYPES[kind]
    if dims[0] % block:
        raise FormatError(
            f"The rows of the tensor “{name}” have {dims[0]:,} numbers, which {label} cannot cut into blocks "
            f"of {block}",
            at,
            "gguf.tensor.block",
        )
    elements = checked_product(dims) or 0
    return elements // block * block_bytes


def _placed(
    declared: list[_Declared], reader: Reader, header_end: int, data_offset: int, alignment: int
) -> tuple[Tensor, ...]:
    """Check that the data tiles the file exactly and give every tensor its place in the file."""
    _zeros(reader, header_end, min(data_offset, reader.size))
    tensors: list[Tensor] = []
    expected = 0
    for one in declared:
        if one.relative != expected:
            raise _not_tiled(one, expected, declared)
        tensor = Tensor(one.name, one.dims, one.type, data_offset + one.relative, one.nbytes)
        if tensor.end > reader.size:
            raise FormatError(
                f"The tensor “{one.name}” reaches to byte {tensor.end:,}, and the file ends at "
                f"{reader.size:,}: it was cut off or the header is wrong",
                one.at,
                "gguf.tensor.outside",
            )
        expected = _padded(one.relative + one.nbytes, alignment)
        _zeros(reader, tensor.end, min(data_offset + expected, reader.size))
        tensors.append(tensor)
    _no_rest(reader, tensors[-1].end if tensors else header_end, data_offset + expected)
    return tuple(tensors)


def _not_tiled(one: _Declared, expected: int, declared: list[_Declared]) -> FormatError:
    overlaps = any(
        one.relative < other.relative + other.nbytes and other.relative < one.relative + one.nbytes
        for other in declared
        if other is not one
    )
    if overlaps:
        return FormatError(f"The tensor “{one.name}” overlaps another one", one.at, "gguf.tensor.overlap")
    return FormatError(
        f"The tensor “{one.name}” begins at byte {one.relative:,} of the data where {expected:,} was "
        "expected: there is a gap, or the order is wrong",
        one.at,
        "gguf.tensor.gap",
    )


def _zeros(reader: Reader, start: int, end: int) -> None:
    found = reader.first_nonzero(start, end)
    if found is not None:
        raise FormatError("The padding between tensors holds hidden data", found, "gguf.padding")


def _no_rest(reader: Reader, end: int, padded_end: int) -> None:
    """The last tensor may be padded or not; nothing else may follow."""
    if reader.size not in (end, padded_end):
        raise FormatError(
            f"The file goes on for {reader.size - end:,} bytes after the last tensor", end, "gguf.trailing"
        )


def _padded(offset: int, alignment: int) -> int:
    return (offset + alignment - 1) // alignment * alignment
