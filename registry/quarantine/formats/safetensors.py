"""safetensors, read strictly.

Source: the format section of the safetensors README: 8 bytes little-endian length N, N bytes of JSON that
begin with `{` and may be padded with spaces, then the data, which the tensors tile without holes. Duplicate
keys, NaN, floats and anything after the JSON are refused. The header may be 100 MB by the reference reader;
here 16 MiB, some hundred times what models have.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from registry.quarantine.formats.errors import FormatError
from registry.quarantine.formats.reader import U64, Reader
from registry.quarantine.formats.strict_json import StrictJson
from registry.quarantine.formats.tensors import (
    MAX_ELEMENTS,
    Tensor,
    checked_product,
    dominant_type,
    shown,
    unprintable,
)

MAX_HEADER: Final = 16 << 20
MAX_TENSORS: Final = 65_536
MAX_DIMS: Final = 16
MAX_NAME: Final = 1_024
MAX_METADATA: Final = 1 << 20
# An entry of four dimensions has 14 of the marks that are counted, one of ten 20.
MAX_VALUES: Final = 20 * MAX_TENSORS
BODY: Final = 8
HEADER: Final = StrictJson(
    what="The header",
    at=BODY,
    prefix="safetensors.header",
    duplicate="safetensors.key.duplicate",
    crowded="safetensors.tensor.count",
    most=MAX_TENSORS,
    values=MAX_VALUES,
)

BITS: Final[dict[str, int]] = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}


@dataclass(frozen=True)
class SafetensorsFile:
    """A safetensors file that holds together. `data_offset` and `size` are bytes from the start of the file;
    `tensors` are in the order of their data; `metadata` is the file's own `__metadata__`; `path` is its name in
    a set.
    """

    size: int
    data_offset: int
    metadata: Mapping[str, str]
    tensors: tuple[Tensor, ...]
    path: str = ""

    @property
    def format(self) -> str:
        """Always `"safetensors"`."""
        return "safetensors"

    @property
    def parameters(self) -> int:
        """Number of weights: the elements of all tensors."""
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def dtype(self) -> str:
        """The type that holds most of the numbers, e.g. `BF16`."""
        return dominant_type(self.tensors) or "unknown"


def read_safetensors(fd: int, size: int, path: str = "") -> SafetensorsFile:
    """Validate the file of `size` bytes behind `fd`; raises `FormatError` with the first thing wrong."""
    reader = Reader(fd, size, "safetensors")
    length = _header_length(reader)
    header = HEADER.read(reader.at(BODY, length))
    data_offset = BODY + length
    metadata = _metadata(header.pop("__metadata__", {}))
    if len(header) > MAX_TENSORS:
        raise FormatError(
            f"The header announces {len(header):,} tensors; at most {MAX_TENSORS:,} are allowed",
            BODY,
            "safetensors.tensor.count",
        )
    tensors = [_tensor(name, entry, data_offset) for name, entry in header.items()]
    tensors.sort(key=lambda tensor: (tensor.offset, tensor.end))
    _tiled(tensors, data_offset, size)
    return SafetensorsFile(size, data_offset, metadata, tuple(tensors), path)


def _header_length(reader: Reader) -> int:
    (length,) = U64.unpack(reader.at(0, 8))
    if length > MAX_HEADER:
        raise FormatError(
            f"The header announces {length:,} bytes; at most {MAX_HEADER:,} are allowed",
            0,
            "safetensors.header.size",
        )
    if length < 2:
        raise FormatError(f"The header announces only {length} bytes", 0, "safetensors.header.size")
    return int(length)


def _metadata(found: object) -> dict[str, str]:
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise FormatError(
            "__metadata__ must map texts to texts and nothing else", BODY, "safetensors.metadata.type"
        )
    if sum(len(key) + len(value) for key, value in found.items()) > MAX_METADATA:
        raise FormatError(
            f"__metadata__ is longer than {MAX_METADATA:,} characters", BODY, "safetensors.metadata.size"
        )
    for text in (*found, *found.values()):
        if "\0" in text or not _encodable(text):
            raise FormatError("__metadata__ holds NUL or half characters", BODY, "safetensors.metadata.text")
    return found


def _encodable(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _tensor(name: str, entry: object, data_offset: int) -> Tensor:
    bad = unprintable(name[:MAX_NAME])
    if not name or len(name) > MAX_NAME or bad:
        why = f"has the character {bad}" if bad else f"has {len(name):,} characters"
        raise FormatError(f"The tensor name “{shown(name)}” {why}", BODY, "safetensors.tensor.name")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise FormatError(
            f"The entry of “{shown(name)}” must have dtype, shape and data_offsets and nothing else",
            BODY,
            "safetensors.tensor.fields",
        )
    dtype = entry["dtype"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise FormatError(
            f"“{shown(name)}” has the unknown type {shown(str(dtype))}", BODY, "safetensors.tensor.type"
        )
    dims = _shape(name, entry["shape"])
    begin, end = _offsets(name, entry["data_offsets"])
    _agree(name, dtype, dims, end - begin)
    return Tensor(name, dims, dtype, data_offset + begin, end - begin)


def _shape(name: str, shape: object) -> tuple[int, ...]:
    if not isinstance(shape, list) or len(shape) > MAX_DIMS or not all(_is_size(dim) for dim in shape):
        raise FormatError(
            f"The shape of “{shown(name)}” must be at most {MAX_DIMS} whole numbers from 0 up",
            BODY,
            "safetensors.tensor.shape",
        )
    return tuple(shape)


def _offsets(name: str, offsets: object) -> tuple[int, int]:
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(_is_size(at) for at in offsets):
        raise FormatError(
            f"The data_offsets of “{shown(name)}” must be two whole numbers from 0 up",
            BODY,
            "safetensors.tensor.offsets",
        )
    begin, end = offsets
    if begin > end:
        raise FormatError(
            f"“{shown(name)}” ends at {end:,}, before it begins at {begin:,}",
            BODY,
            "safetensors.tensor.offsets",
        )
    return begin, end


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_ELEMENTS


def _agree(name: str, dtype: str, dims: tuple[int, ...], nbytes: int) -> None:
    """The shape and the bytes must say the same size."""
    elements = checked_product(dims)
    if elements is None:
        raise FormatError(
            f"“{shown(name)}” would have more numbers than 64 bits can count", BODY, "safetensors.tensor.size"
        )
    if elements * BITS[dtype] != nbytes * 8:
        raise FormatError(
            f"“{shown(name)}” needs {elements * BITS[dtype] / 8:,g} bytes by its shape and takes {nbytes:,}",
            BODY,
            "safetensors.tensor.size",
        )


def _tiled(tensors: list[Tensor], data_offset: int, size: int) -> None:
    """`tensors`, sorted by place, must cover the data exactly."""
    if not tensors:
        raise FormatError("The file holds no tensors", BODY, "safetensors.tensor.none")
    expected = data_offset
    for tensor in tensors:
        if tensor.offset != expected:
            kind, what = (
                ("gap", "leaves a gap") if tensor.offset > expected else ("overlap", "overlaps another")
            )
            raise FormatError(
                f"“{shown(tensor.name)}” begins at byte {tensor.offset:,} where {expected:,} was expected: "
                f"it {what}",
                min(tensor.offset, size),
                f"safetensors.tensor.{kind}",
            )
        expected = tensor.end
    if expected > size:
        raise FormatError(
            f"The tensors reach to byte {expected:,}, and the file ends at {size:,}: it was cut off",
            size,
            "safetensors.tensor.outside",
        )
    if expected < size:
        raise FormatError(
            f"The file goes on for {size - expected:,} bytes after the last tensor",
            expected,
            "safetensors.trailing",
        )
