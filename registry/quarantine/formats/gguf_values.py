"""The key-value part of a GGUF header, read with bounded memory.

Source: ggml `docs/gguf.md`. Arrays are not kept but for a few short ones: they are
walked, measured and hashed.
"""

import hashlib
import math
import re
import struct
from dataclasses import dataclass

from registry.quarantine.formats import gguf_types as limits
from registry.quarantine.formats.errors import FormatError
from registry.quarantine.formats.reader import Cursor
from registry.quarantine.formats.tensors import shown

KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/\-]*")


# The lists that are kept: numbers for each layer, by the end of their keys.
KEPT = (".attention.head_count_kv", ".attention.sliding_window_pattern")


@dataclass(frozen=True, slots=True)
class ArraySummary:
    """An array in the metadata: element type, number of elements, SHA-256 of its bytes.

    `values` holds the elements of a list of `KEPT` with up to 1,024 whole numbers or truth values, else `None`.
    """

    type: str
    length: int
    sha256: str
    values: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class LongText:
    """A text over 4,096 bytes that no fact needs: its length in bytes and SHA-256."""

    length: int
    sha256: str


Value = bool | int | float | str | ArraySummary | LongText


class ValueReader:
    """Reads keys and values from a cursor; counts what all arrays together may cost."""

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.strings_left = limits.MAX_ARRAY_STRINGS
        self.templates_left = limits.MAX_TEMPLATES

    def read_all(self, count: int) -> dict[str, Value]:
        """`count` pairs; raises `FormatError` on the first that is not as it should be."""
        found: dict[str, Value] = {}
        for _ in range(count):
            start = self.cursor.offset
            key = self.key()
            if key in found:
                raise FormatError(f"The header has the key “{shown(key)}” twice", start, "gguf.key.duplicate")
            found[key] = self.value(key)
        return found

    def key(self) -> str:
        """One key: ASCII letters, digits and `_ . : / -`."""
        start = self.cursor.offset
        length = self.cursor.u64()
        if not 1 <= length <= limits.MAX_KEY:
            raise FormatError(
                f"A key announces {length:,} bytes; 1 to {limits.MAX_KEY:,} are allowed",
                start,
                "gguf.key.length",
            )
        text = decoded(self.cursor.take(length), start, "A key", "gguf.key.text")
        if not KEY.fullmatch(text):
            raise FormatError(
                f"The key “{shown(text)}” has characters that do not belong in a key",
                start,
                "gguf.key.text",
            )
        return text

    def value(self, key: str) -> Value:
        """One value of any type, arrays and long texts as a summary."""
        start = self.cursor.offset
        kind = self.cursor.u32()
        if kind == limits.STRING:
            return self._text(key)
        if kind == limits.ARRAY:
            return self._array(key)
        if kind not in limits.SCALARS:
            raise FormatError(
                f"“{shown(key)}” has the value type {kind:,}, which does not exist", start, "gguf.value.type"
            )
        return self._scalar(key, kind)

    def _scalar(self, key: str, kind: int) -> bool | int | float:
        start = self.cursor.offset
        _, layout, size = limits.SCALARS[kind]
        (number,) = struct.unpack(layout, self.cursor.take(size))
        if kind == limits.BOOL and number > 1:
            raise FormatError(
                f"“{shown(key)}” should be true or false and is {number}", start, "gguf.value.bool"
            )
        if isinstance(number, float) and not math.isfinite(number):
            raise FormatError(f"“{shown(key)}” is {number}, not a number", start, "gguf.value.not_finite")
        return bool(number) if kind == limits.BOOL else number

    def _text(self, key: str) -> str | LongText:
        start = self.cursor.offset
        length = self.cursor.u64()
        if length > limits.MAX_STRING:
            raise FormatError(
                f"“{shown(key)}” announces a text of {length:,} bytes; at most {limits.MAX_STRING:,} "
                "are allowed",
                start,
                "gguf.string.length",
            )
        template = key.startswith("tokenizer.chat_template")
        if template:
            self._template(length, start)
        raw = self.cursor.take(length)
        text = decoded(raw, start, f"“{shown(key)}”", "gguf.string.text")
        if length > limits.SHORT_TEXT and not template:
            return LongText(length, hashlib.sha256(raw).hexdigest())
        return text

    def _template(self, length: int, start: int) -> None:
        """Chat templates are the only long texts that are kept, so they have limits of their own."""
        self.templates_left -= 1
        if self.templates_left < 0:
            raise FormatError(
                f"The header has more than {limits.MAX_TEMPLATES} chat templates",
                start,
                "gguf.template.count",
            )
        if length > limits.MAX_TEMPLATE:
            raise FormatError(
                f"A chat template is {length:,} bytes long; at most {limits.MAX_TEMPLATE:,} are allowed",
                start,
                "gguf.template.size",
            )

    def _array(self, key: str) -> ArraySummary:
        start = self.cursor.offset
        kind = self.cursor.u32()
        if kind == limits.ARRAY:
            raise FormatError(
                f"“{shown(key)}” is a list of lists, which is not allowed", start, "gguf.array.nested"
            )
        if kind != limits.STRING and kind not in limits.SCALARS:
            raise FormatError(
                f"“{shown(key)}” is a list of type {kind:,}, which does not exist", start, "gguf.array.type"
            )
        count = self._array_length(key, kind)
        body = self.cursor.offset
        if kind == limits.STRING:
            self.cursor.skip_strings(count, limits.MAX_STRING, "gguf.string.length")
        else:
            self.cursor.skip(count * limits.SCALARS[kind][2])
        return ArraySummary(
            type="string" if kind == limits.STRING else limits.SCALARS[kind][0],
            length=count,
            sha256=self._digest(key, kind, body),
            values=self._values(kind, body, count) if key.endswith(KEPT) else None,
        )

    def _values(self, kind: int, start: int, count: int) -> tuple[int, ...] | None:
        """The elements of a short list of whole numbers."""
        if kind not in limits.WHOLE or count > limits.MAX_LAYERS:
            return None
        _, layout, size = limits.SCALARS[kind]
        raw = self.cursor.reader.at(start, count * size)
        return struct.unpack(f"<{count}{layout[1]}", raw)

    def _array_length(self, key: str, kind: int) -> int:
        """The element count, checked against the limits and against the bytes that are left."""
        start = self.cursor.offset
        count = self.cursor.u64()
        size = 8 if kind == limits.STRING else limits.SCALARS[kind][2]
        most = limits.MAX_ARRAY
        if kind == limits.STRING:
            most = self.strings_left
            self.strings_left -= count
        if count > most or count * size > self.cursor.left:
            raise FormatError(
                f"“{shown(key)}” announces a list of {count:,} entries; at most "
                f"{min(most, self.cursor.left // size):,} are possible here",
                start,
                "gguf.array.length",
            )
        return count

    def _digest(self, key: str, kind: int, start: int) -> str:
        """SHA-256 from `start` to the cursor; a list of truth values may hold only 0 and 1."""
        digest = hashlib.sha256()
        for chunk in self.cursor.reader.chunks(start, self.cursor.offset):
            if kind == limits.BOOL and chunk.translate(None, b"\0\1"):
                raise FormatError(f"“{shown(key)}” should hold only true or false", start, "gguf.value.bool")
            digest.update(chunk)
        return digest.hexdigest()


def decoded(raw: bytes, offset: int, what: str, code: str) -> str:
    """Text from the file: UTF-8 without NUL, at which C programs would cut it."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"{what} is not valid UTF-8", offset + 8 + error.start, code) from None
    if "\0" in text:
        raise FormatError(
            f"{what} holds a NUL character, at which some programs cut it", offset + 8 + raw.index(0), code
        )
    return text
