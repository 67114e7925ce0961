"""JSON from a stranger: one object in UTF-8, no duplicate key, no NaN, bounded numbers, nothing behind it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from registry.quarantine.formats.errors import FormatError
from registry.quarantine.formats.tensors import shown

MAX_DIGITS = 20


@dataclass(frozen=True, slots=True)
class StrictJson:
    """How one kind of JSON text is read and how its faults are called.

    `what` begins the sentences ("The header"), `at` is the text's byte in its file, `most` the number of objects
    that may lie in it (two more are allowed for the outermost and its metadata), `values` the number of commas, colons
    and opening brackets, which bounds time and memory before anything is parsed; `floats` admits fractions.
    Codes: `prefix` with `.text`, `.json`, `.depth`, `.trailing` or `.number`, and `duplicate` and `crowded` as given.
    """

    what: str
    at: int
    prefix: str
    duplicate: str
    crowded: str
    most: int
    values: int
    floats: bool = False

    def read(self, raw: bytes) -> dict[str, Any]:
        """The object; raises `FormatError` for anything else. The caller bounds the length of `raw`."""
        if sum(map(raw.count, (b",", b":", b"[", b"{"))) > self.values:
            raise FormatError(f"{self.what} has far too many values", self.at, self.crowded)
        text = self._text(raw)
        decoder = json.JSONDecoder(
            object_pairs_hook=self._pairs(),
            parse_float=self._float,
            parse_constant=self._no_number,
            parse_int=self._integer,
        )
        try:
            found, end = decoder.raw_decode(text)
        except json.JSONDecodeError as error:
            at = self.at + len(text[: error.pos].encode())
            raise FormatError(
                f"{self.what} is not valid JSON: {error.msg}", at, f"{self.prefix}.json"
            ) from None
        except RecursionError:
            raise FormatError(f"{self.what} is nested too deeply", self.at, f"{self.prefix}.depth") from None
        if text[end:].strip(" "):
            at = self.at + len(text[:end].encode())
            raise FormatError(f"{self.what} goes on after its JSON", at, f"{self.prefix}.trailing")
        return found  # type: ignore[no-any-return]

    def _text(self, raw: bytes) -> str:
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise FormatError(
                f"{self.what} is not valid UTF-8", self.at + error.start, f"{self.prefix}.text"
            ) from None
        if not text.startswith("{"):
            raise FormatError(f"{self.what} does not begin with “{{”", self.at, f"{self.prefix}.json")
        return text

    def _pairs(self) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
        """Builds each object: no duplicate key, and no more objects than `most`."""
        left = self.most + 2

        def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            nonlocal left
            left -= 1
            if left < 0:
                raise FormatError(f"{self.what} has more than {self.most:,} entries", self.at, self.crowded)
            found = dict(pairs)
            if len(found) != len(pairs):
                raise FormatError(f"{self.what} has “{shown(_twice(pairs))}” twice", self.at, self.duplicate)
            return found

        return build

    def _float(self, said: str) -> float:
        return float(said) if self.floats and len(said) <= MAX_DIGITS + 5 else self._no_number(said)

    def _no_number(self, said: str) -> NoReturn:
        numbers = "plain numbers" if self.floats else "whole numbers"
        raise FormatError(
            f"{self.what} has the number {shown(said)}; only {numbers} are allowed",
            self.at,
            f"{self.prefix}.number",
        )

    def _integer(self, said: str) -> int:
        # “-0” is a whole number here and a fraction to other readers
        if len(said) > MAX_DIGITS or said == "-0":
            raise FormatError(
                f"{self.what} has the number {shown(said, 20)}, which no size can be",
                self.at,
                f"{self.prefix}.number",
            )
        return int(said)


def _twice(pairs: list[tuple[str, Any]]) -> str:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            return key
        seen.add(key)
    return ""
