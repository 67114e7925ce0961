"""What is said of the numbers in tensors, and that the block layouts are those of the official package."""

import gguf as official
import numpy as np
import pytest

from registry.quarantine.formats.errors import FormatError
from registry.quarantine.formats.statistics import (
    BLOCK_BYTES,
    MAX_NOTABLE,
    PIECE,
    SCALES,
    Sample,
    Statistics,
    is_measured,
    measure,
)
from registry.quarantine.formats.tensors import Tensor

NAN = {2: b"\x00\x7e", 4: b"\x00\x00\xc0\x7f"}


def sampled(kind: str, data: bytes, offset: int = 0) -> Sample:
    tensor = Tensor("w", (len(data), 1), kind, offset, len(data))
    found = Sample()
    measure(tensor, offset, memoryview(data), found)
    return found


def tensor_of(kind: str, dims: tuple[int, ...], name: str = "w") -> Tensor:
    return Tensor(name, dims, kind, 0, 0)


def closed(kind: str, data: bytes, dims: tuple[int, ...] = (4, 4)) -> Statistics:
    found = Statistics()
    found.close("", tensor_of(kind, dims), sampled(kind, data))
    return found


@pytest.mark.parametrize("kind", sorted(SCALES))
def test_a_scale_lies_where_the_official_package_reads_it(kind: str) -> None:
    quant = official.GGMLQuantizationType[kind]
    if kind == "Q8_K":  # the package does not decode it; ggml-common.h: a float first
        assert (SCALES[kind], BLOCK_BYTES[kind]) == ((0,), 292)
        return
    for place in SCALES[kind]:
        block = bytearray(b"\x01" * BLOCK_BYTES[kind])
        for other in SCALES[kind]:
            block[other : other + 2] = b"\x00\x3c"
        assert sampled(kind, bytes(block)).nan == 0
        assert np.isfinite(official.dequantize(np.frombuffer(block, np.uint8), quant)).all()
        block[place : place + 2] = NAN[2]
        assert sampled(kind, bytes(block)).nan == 1
        assert np.isnan(official.dequantize(np.frombuffer(block, np.uint8), quant)).any()


@pytest.mark.parametrize(("kind", "width"), [("F64", "<f8"), ("F32", "<f4"), ("F16", "<f2")])
def test_numbers_are_read_as_they_are(kind: str, width: str) -> None:
    numbers = np.array([0, -3, 1.5, 0, 2, np.inf, np.nan, 0.5], width)
    found = sampled(kind, numbers.tobytes())
    assert (found.values, found.zeros, found.nan, found.infinite) == (8, 2, 1, 1)
    assert (found.low, found.high, found.largest) == (-3, 2, 3)
    assert found.spread == pytest.approx(np.std([0, -3, 1.5, 0, 2, 0.5]))


def test_brain_floats_are_read_as_they_are() -> None:
    whole = np.array([1.0, -2.0, 0.0, np.nan], "<f4").view("<u2")[1::2]
    found = sampled("BF16", whole.tobytes())
    assert (found.low, found.high, found.zeros, found.nan) == (-2, 1, 1, 1)


def test_no_more_than_a_piece_is_looked_at() -> None:
    assert sampled("F32", b"\0" * (4 * PIECE)).values == PIECE // 4


def test_a_piece_that_begins_inside_a_block_is_read_from_the_next() -> None:
    block = b"\x00\x3c" + b"\xff" * 32
    tensor = Tensor("w", (320,), "Q8_0", 1_000, 340)
    found = Sample()
    measure(tensor, 1_005, memoryview(block * 10)[5:], found)
    assert (found.values, found.low, found.high, found.nan) == (9, 1, 1, 0)


def test_types_without_a_common_arithmetic_are_not_measured() -> None:
    assert [is_measured(tensor_of(kind, (4,))) for kind in ("I32", "F8_E4M3", "MXFP4", "BOOL")] == [False] * 4
    statistics = Statistics()
    statistics.close("", tensor_of("I32", (4,)), None)
    assert statistics.to_json()["not_measured"] == 1


@pytest.mark.parametrize(
    ("kind", "data", "dims"),
    [
        ("F32", NAN[4] * 16, (4, 4)),
        ("F32", NAN[4] * 4, (4,)),
        ("F32", b"\x00\x00\x80\xff" * 16, (4, 4)),
        ("Q8_0", b"\x00\x7c" + bytes(32), (32,)),
    ],
)
def test_what_cannot_work_is_refused(kind: str, data: bytes, dims: tuple[int, ...]) -> None:
    with pytest.raises(FormatError, match=r"“w” is broken: \d+ of \d+ sampled") as caught:
        closed(kind, data, dims)
    assert caught.value.code == "tensor.not_finite"


@pytest.mark.parametrize(
    ("data", "dims", "what"),
    [
        (bytes(64), (4, 4), "zero"),
        (b"\x00\x00\x80\x3f" * 16, (4, 4), "constant"),
        (b"\x00\x00\x80\x7f" * 4, (4,), "infinite"),
    ],
)
def test_what_is_odd_is_noted(data: bytes, dims: tuple[int, ...], what: str) -> None:
    said = closed("F32", data, dims).to_json()
    assert (said["odd"], said["notable"][0]["what"], said["notable"][0]["tensor"]) == (1, what, "w")


def test_a_vector_of_ones_is_nothing_to_note() -> None:
    said = closed("F32", b"\x00\x00\x80\x3f" * 16, (16,)).to_json()
    assert (said["tensors"], said["odd"], said["notable"], said["max_abs"]) == (1, 0, [], 1.0)


def test_the_notes_are_counted_and_cut() -> None:
    statistics = Statistics()
    for number in range(50):
        statistics.close("", tensor_of("F32", (4, 4), f"w{number}"), sampled("F32", bytes(64)))
    said = statistics.to_json()
    assert (said["odd"], len(said["notable"]), said["zero_share"]) == (50, MAX_NOTABLE, 1.0)
