"""What the numbers in the tensors look like, from samples: broken weights are refused, odd ones are noted.

Of every 2 MiB of a tensor the first 16 KiB are looked at: below one per cent of the bytes. Where the
scale fields of a quantized block lie is said by the block structures in ggml's `ggml-common.h`; safetensors types are
those of its README, and types that have no common arithmetic (8 bits and fewer, whole numbers) are not measured.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from registry.quarantine.formats.errors import FormatError
from registry.quarantine.formats.gguf_types import TENSOR_TYPES
from registry.quarantine.formats.tensors import Tensor, shown

PIECE: Final = 16 << 10
MAX_NOTABLE: Final = 20
WIDTHS: Final = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
# type -> where in a block its scales (and minima) lie, in bytes; all are half precision but that of Q8_K
SCALES: Final[dict[str, tuple[int, ...]]] = {
    "Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q8_0": (0,),
    "Q2_K": (80, 82), "Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,), "Q8_K": (0,),
    "IQ2_XXS": (0,), "IQ2_XS": (0,), "IQ2_S": (0,), "IQ3_XXS": (0,), "IQ3_S": (0,), "IQ1_S": (0,),
    "IQ4_NL": (0,), "IQ4_XS": (0,), "TQ1_0": (52,), "TQ2_0": (64,),
}  # fmt: skip
BLOCK_BYTES: Final = {name: size for name, _, size in TENSOR_TYPES.values()}

Floats = NDArray[np.float64]


@dataclass(slots=True)
class Sample:
    """What was seen of one tensor: its values, or the scales of its blocks."""

    values: int = 0
    nan: int = 0
    infinite: int = 0
    zeros: int = 0
    low: float = math.inf
    high: float = -math.inf
    total: float = 0.0
    squares: float = 0.0

    def add(self, numbers: Floats) -> None:
        """Count further numbers; those that are not finite stay out of range and spread."""
        finite = numbers[np.isfinite(numbers)]
        nan = int(np.isnan(numbers).sum())
        self.values += numbers.size
        self.nan += nan
        self.infinite += numbers.size - finite.size - nan
        if finite.size:
            self.zeros += int((finite == 0).sum())
            self.low = min(self.low, float(finite.min()))
            self.high = max(self.high, float(finite.max()))
            self.total += float(finite.sum())
            self.squares += float(np.square(finite).sum())

    @property
    def largest(self) -> float:
        """The largest magnitude; 0 where no number is finite."""
        return max(abs(self.low), abs(self.high)) if self.low <= self.high else 0.0

    @property
    def spread(self) -> float:
        """The standard deviation; 0 where it is not finite."""
        count = max(1, self.values - self.nan - self.infinite)
        mean = self.total / count
        variance = self.squares / count - mean * mean  # not ** 2, which raises where this gives infinity
        return math.sqrt(variance) if 0 < variance < math.inf else 0.0


@dataclass(slots=True)
class Statistics:
    """Gathers samples over all files. `notable` are tensors that are worth a look, at most 20."""

    measured: int = 0
    unmeasured: int = 0
    values: int = 0
    zeros: int = 0
    scales: int = 0
    largest: float = 0.0
    odd: int = 0
    notable: list[dict[str, Any]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: tensors measured and not, numbers sampled (values and scales), the share of zeros among the
        values, the largest magnitude, and the notable tensors.
        """
        return {
            "tensors": self.measured,
            "not_measured": self.unmeasured,
            "values": self.values,
            "scales": self.scales,
            "zero_share": round(self.zeros / self.values, 6) if self.values else None,
            "max_abs": _rounded(self.largest),
            "odd": self.odd,
            "notable": self.notable,
        }

    def close(self, file: str, tensor: Tensor, sample: Sample | None) -> None:
        """Count one tensor whose bytes have all passed; raises `FormatError` where it holds what cannot work.

        NaN is never a weight. Infinity may stand in a vector (a mask, a table of frequencies) and is noted there;
        in a matrix or as the scale of a block it makes whole rows useless.
        """
        if sample is None or not sample.values:
            self.unmeasured += 1
            return
        matrix = sum(dim > 1 for dim in tensor.dims) > 1
        if sample.nan or (sample.infinite and (matrix or tensor.type in SCALES)):
            raise _not_finite(tensor, sample)
        self.measured += 1
        self.largest = max(self.largest, sample.largest)
        if tensor.type in SCALES:
            self.scales += sample.values
        else:
            self.values += sample.values
            self.zeros += sample.zeros
        if sample.infinite or (matrix and sample.low == sample.high):
            self._note(file, tensor, sample)

    def _note(self, file: str, tensor: Tensor, sample: Sample) -> None:
        self.odd += 1
        if len(self.notable) >= MAX_NOTABLE:
            return
        zero = sample.largest == 0 and not sample.infinite
        self.notable.append(
            {
                "tensor": tensor.name, "file": file, "type": tensor.type,
                "what": "infinite" if sample.infinite else "zero" if zero else "constant",
                "max_abs": _rounded(sample.largest), "std": _rounded(sample.spread),
            }
        )  # fmt: skip


def measure(tensor: Tensor, offset: int, data: memoryview, sample: Sample) -> None:
    """Add a piece of `data`, which lies at byte `offset` of the file and inside the tensor, to its sample."""
    step = WIDTHS.get(tensor.type) or BLOCK_BYTES.get(tensor.type, 1)
    skip = -(offset - tensor.offset) % step
    length = min(PIECE, len(data) - skip) // step * step
    if length > 0:
        for numbers in _numbers(tensor.type, data[skip : skip + length]):
            sample.add(numbers)


def is_measured(tensor: Tensor) -> bool:
    """Whether the type's numbers or scales can be looked at."""
    return tensor.type in WIDTHS or tensor.type in SCALES


def _numbers(kind: str, data: memoryview) -> Iterator[Floats]:
    with np.errstate(all="ignore"):
        if kind in WIDTHS:
            yield _floats(kind, data)
            return
        blocks = np.frombuffer(data, np.uint8).reshape(-1, BLOCK_BYTES[kind])
        for place in SCALES[kind]:
            width = 4 if kind == "Q8_K" else 2
            scales = np.ascontiguousarray(blocks[:, place : place + width])
            yield scales.view("<f4" if width == 4 else "<f2").ravel().astype(np.float64)


def _floats(kind: str, data: memoryview) -> Floats:
    if kind == "BF16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").astype(np.float64)
    return np.frombuffer(data, f"<f{WIDTHS[kind]}").astype(np.float64)


def _rounded(value: float) -> float | None:
    """Six significant digits; `None` for what JSON cannot say."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _not_finite(tensor: Tensor, sample: Sample) -> FormatError:
    what = "scales" if tensor.type in SCALES else "numbers"
    bad = sample.nan + sample.infinite
    return FormatError(
        f"The tensor “{shown(tensor.name)}” is broken: {bad:,} of {sample.values:,} sampled {what} are NaN or "
        "infinite, so the model would write nothing sensible",
        tensor.offset,
        "tensor.not_finite",
    )
