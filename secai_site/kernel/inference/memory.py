"""What this process has in memory, as the kernel counts it: bytes, from `/proc/self/statm`."""

import os
from pathlib import Path
from typing import Final

_STATM: Final = Path("/proc/self/statm")
# Fields of statm (proc(5)): size, resident, shared, text, lib, data + stack, dt; in pages.
_RESIDENT: Final = 1
_DATA: Final = 5


def resident_bytes() -> int:
    """All pages that are in memory now, those of mapped files included."""
    return _field(_RESIDENT)


def private_bytes() -> int:
    """What the process has asked for that no file backs, touched or not: a buffer counts before its use."""
    return _field(_DATA)


def needed(weights: int, *, before: int, with_weights: int, with_context: int) -> int:
    """What a model needs to run, from its weights in bytes and `private_bytes` at three moments.

    The weights count once, whether they are mapped or were copied into another order while loading, as
    llama.cpp does with some quantizations: their pages in the file are not read again then. On top comes
    what its context asked for, cache and buffers. The tables of the tokenizer are small beside mapped weights
    (17 MB of 376 for the demo model, 54 of 604 for a vocabulary of 262,144) and are left out, as they cannot
    be told from copied weights.
    """
    return max(weights, with_weights - before) + max(with_context - with_weights, 0)


def _field(number: int) -> int:
    return int(_STATM.read_text(encoding="ascii").split()[number]) * os.sysconf("SC_PAGE_SIZE")
