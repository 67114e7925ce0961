"""JSON of a pipeline, read so that no other parser reads it differently, in bounded memory and time."""

import json
import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NoReturn

from registry.quarantine.formats.errors import FormatError
from registry.quarantine.formats.members import Member
from registry.quarantine.formats.reader import Reader
from registry.quarantine.formats.tensors import shown

MAX_DEPTH: Final = 32
# Real settings have up to some 100 KiB.
MAX_CONFIG: Final = 1 << 20
# Values in one file. Real settings have some hundred; the tokenizers of CLIP and T5 up to 200,000, lists counted.
MAX_SETTINGS: Final = 10_000
MAX_ENTRIES: Final = 400_000
# `model_max_length` is written as int(1e30) where there is none: 31 digits.
MAX_DIGITS: Final = 40
HALF_CHARACTER: Final = re.compile(rb"\\u[dD][89a-fA-F]")


def read_settings(member: Member) -> dict[str, Any]:
    """The object in a JSON file of settings; raises `FormatError`. It may hold `-Infinity`, which diffusers
    writes as the default of one setting of its DPM schedulers.
    """
    return read_document(member, MAX_CONFIG, MAX_SETTINGS, {"-Infinity": -math.inf})


def read_document(
    member: Member, longest: int, values: int, constants: Mapping[str, float] = MappingProxyType({})
) -> dict[str, Any]:
    """The object in a JSON file of at most `longest` bytes and `values` values; raises `FormatError`.

    `constants`: what may stand for a number besides digits.
    """
    raw = read_bytes(member, longest)
    if sum(map(raw.count, (b",", b"[", b"{"))) > values:
        raise wrong(member, f"has more than {values:,} values", "pipeline.json.values")
    document = _parsed(member, _decoded(member, raw), constants)
    if not isinstance(document, dict):
        raise wrong(member, "is no JSON object", "pipeline.json.shape")
    if _depth(document) > MAX_DEPTH:
        raise wrong(member, f"is nested deeper than {MAX_DEPTH} levels", "pipeline.json.depth")
    if HALF_CHARACTER.search(raw):
        _check_whole_characters(member, document)
    return document


def read_text(member: Member, longest: int) -> str:
    """A whole file of at most `longest` bytes as UTF-8 text without NUL; raises `FormatError`."""
    return _decoded(member, read_bytes(member, longest))


def read_bytes(member: Member, longest: int) -> bytes:
    """A whole file of at most `longest` bytes; raises `FormatError`."""
    if member.size > longest:
        raise wrong(
            member, f"has {member.size:,} bytes; at most {longest:,} are allowed", "pipeline.file.size"
        )
    return Reader(member.fd, member.size, "pipeline").at(0, member.size)


def wrong(member: Member, words: str, code: str) -> FormatError:
    """The error that `member` `words`."""
    return FormatError(f"“{member.name}” {words}", None, code, member.path)


def _decoded(member: Member, raw: bytes) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise wrong(member, "is not UTF-8 text", "pipeline.text.encoding") from None
    if "\0" in text:
        raise wrong(member, "holds NUL characters, which no text does", "pipeline.text.encoding")
    return text


def _parsed(member: Member, text: str, constants: Mapping[str, float]) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise wrong(member, "has the same key twice in one object", "pipeline.json.duplicate")
        return found

    def refuse(said: str) -> NoReturn:
        raise wrong(member, f"has {shown(said, 20)}, which is no number", "pipeline.json.number")

    def constant(said: str) -> float:
        return constants[said] if said in constants else refuse(said)

    def integer(said: str) -> int:
        return int(said) if len(said) <= MAX_DIGITS else refuse(said)

    def finite(said: str) -> float:
        value = float(said)
        return value if math.isfinite(value) else refuse(said)

    try:
        return json.loads(
            text, object_pairs_hook=unique, parse_constant=constant, parse_int=integer, parse_float=finite
        )
    except RecursionError:
        raise wrong(member, f"is nested deeper than {MAX_DEPTH} levels", "pipeline.json.depth") from None
    except ValueError as error:
        raise wrong(member, f"is not valid JSON: {shown(str(error), 100)}", "pipeline.json.syntax") from None


def _depth(document: object) -> int:
    """How deep objects and lists nest; looks no deeper than one past the limit."""
    level, depth = [document], 0
    while level and depth <= MAX_DEPTH:
        depth += 1
        level = [inner for outer in level for inner in _inside(outer) if isinstance(inner, dict | list)]
    return depth


def _inside(outer: object) -> list[Any]:
    if isinstance(outer, dict):
        return list(outer.values())
    return outer if isinstance(outer, list) else []


def _check_whole_characters(member: Member, document: object) -> None:
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise wrong(member, "holds half a character (a lone surrogate)", "pipeline.text.encoding") from None
