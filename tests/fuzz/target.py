"""What a target is, and the bounds that every reader has to keep."""

import os
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from registry.quarantine.formats.errors import FormatError

# processor time, so that a busy machine does not count
SECONDS = 2.0
CODE = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)+")
LONGEST_REASON = 1_000
INTERESTING = (
    0,
    1,
    2,
    7,
    8,
    31,
    32,
    33,
    255,
    2**16,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**62,
    2**63 - 1,
    2**63,
    2**64 - 1,
)


@dataclass(frozen=True)
class Target:
    """A reader under test. `check` raises on a breach and says whether the input was accepted; `seeds` are inputs to
    begin with; `build` makes a plausible input out of chance; `aligned` puts right what a blind mutation broke (a
    length field), so that it reaches further.
    """

    name: str
    check: Callable[[bytes], bool]
    seeds: Callable[[], Iterator[bytes]]
    build: Callable[[random.Random], bytes] | None = None
    aligned: Callable[[bytes], bytes] | None = None


@contextmanager
def opened(*contents: bytes) -> Iterator[Sequence[int]]:
    """Each content behind a descriptor of a file in memory."""
    fds: list[int] = []
    try:
        for content in contents:
            fds.append(os.memfd_create("fuzz"))
            os.write(fds[-1], content)
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


def refused(read: Callable[[], object], size: int) -> bool:
    """Whether `read` refuses its file of `size` bytes; any error but a well-formed `FormatError` passes through."""
    begun = time.process_time()
    try:
        read()
    except FormatError as error:
        took = time.process_time() - begun
        assert took <= SECONDS, f"a refusal took {took:.1f} s ({error.code})"
        _check_refusal(error, size)
        return True
    return False


def _check_refusal(error: FormatError, size: int) -> None:
    assert CODE.fullmatch(error.code), error.code
    assert 0 < len(error.reason) <= LONGEST_REASON, error.code
    assert "\0" not in error.reason, error.code
    error.reason.encode()
    assert error.offset is None or 0 <= error.offset <= size, (error.code, error.offset, size)
