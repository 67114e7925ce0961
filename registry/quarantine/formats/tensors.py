"""What both formats have in common: a tensor's place in the file, and tiling without gaps or overlaps."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

MAX_ELEMENTS = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor as the header declares it.

    `dims` in the order of the file, `type` the format's own name (`Q4_1`, `BF16`), `offset` in bytes from the
    start of the **file**, `nbytes` without padding.
    """

    name: str
    dims: tuple[int, ...]
    type: str
    offset: int
    nbytes: int

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        count = 1
        for dim in self.dims:
            count *= dim
        return count

    @property
    def end(self) -> int:
        """The first byte after it."""
        return self.offset + self.nbytes


def checked_product(dims: Iterable[int]) -> int | None:
    """The number of elements, or `None` when it does not fit a signed 64-bit number at some step.

    A zero dimension does not excuse the others: what overflows in C in one order of multiplication and not
    in the other is refused.
    """
    product = 1
    zero = False
    for dim in dims:
        zero = zero or dim == 0
        product *= dim or 1
        if product > MAX_ELEMENTS:
            return None
    return 0 if zero else product


def dominant_type(tensors: Iterable[Tensor]) -> str | None:
    """The type that holds most of the numbers; ties go to the name that sorts first."""
    counts: dict[str, int] = {}
    for tensor in tensors:
        counts[tensor.type] = counts.get(tensor.type, 0) + tensor.elements
    return min(counts, key=lambda name: (-counts[name], name)) if counts else None


def unprintable(text: str) -> str | None:
    """Say which character of a name does not belong in one (control, bidi, zero-width, …), or `None`."""
    if text.isprintable():  # no such character, at a fraction of the time
        return None
    for char in text:
        if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}:
            return f"U+{ord(char):04X}"
    return None


def shown(text: str, longest: int = 60) -> str:
    """A name from the file as it may stand in a sentence: one line, plain, cut. What is cut off is never looked at:
    a header of 16 MiB can be one name.
    """
    head = text[: longest + 1]
    plain = "".join(char if unprintable(char) is None else f"<U+{ord(char):04X}>" for char in head)
    return plain if len(plain) <= longest else plain[:longest] + "…"
