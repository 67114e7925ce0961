"""The child process that reads the end of a vocabulary: standard input is the file, standard output a JSON list."""

import json
import os
import sys
from collections.abc import Sequence
from typing import Final

from registry.quarantine.formats import gguf_types as limits
from registry.quarantine.formats.errors import FormatError
from registry.quarantine.formats.gguf_facts import TOKENS
from registry.quarantine.formats.gguf_values import ValueReader
from registry.quarantine.formats.reader import Cursor, Reader
from registry.quarantine.trial.vocabulary import WANTED, WORD
from secai_site.kernel.sandbox import Limits, Profile, apply

FILE: Final = 0
LIMITS: Final = Limits(cpu_s=30, memory=512 << 20, file_size=0, open_files=16)
TAIL: Final = 8_192  # some vocabularies end in thousands of unused places
LONGEST: Final = 64
BEFORE_COUNT: Final = 4 + 4 + 8  # magic, version, number of tensors
# What tokenizers put in front of a piece: that it begins a word, or that it does not.
MARKS: Final = "▁Ġ# "


def main(arguments: list[str]) -> int:
    """Confine this process and write the words; `arguments`: the parent's pid."""
    apply(Profile("vocabulary", processes=False, limits=LIMITS, parent=int(arguments[0])))
    words = rarest(FILE, os.fstat(FILE).st_size)
    sys.stdout.write(json.dumps(words))
    return 0


def rarest(descriptor: int, size: int) -> list[str]:
    """Up to six words, the last of the vocabulary first; none where the header has no list of tokens."""
    cursor = Cursor(Reader(descriptor, size, "gguf"), size)
    try:
        cursor.take(BEFORE_COUNT)
        tail = _tail(cursor, cursor.u64())
    except FormatError:
        return []
    plain = (token.strip(MARKS) for token in reversed(tail))
    return list(dict.fromkeys(word for word in plain if WORD.fullmatch(word)))[:WANTED]


def _tail(cursor: Cursor, pairs: int) -> Sequence[str]:
    """The last 8,192 tokens, in their order, without those of over 64 bytes."""
    values = ValueReader(cursor)
    for _ in range(pairs):
        key = values.key()
        if key != TOKENS:
            values.value(key)
            continue
        kind, element, count = cursor.u32(), cursor.u32(), cursor.u64()
        if (kind, element) != (limits.ARRAY, limits.STRING):
            return ()
        cursor.skip_strings(max(count - TAIL, 0), limits.MAX_STRING, "gguf.string.length")
        return [_token(cursor) for _ in range(min(count, TAIL))]
    return ()


def _token(cursor: Cursor) -> str:
    length = cursor.u64()
    if length > LONGEST:
        cursor.skip(length)
        return ""
    return cursor.take(length).decode("utf-8", "replace")
