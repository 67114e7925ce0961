"""Frames between client and worker: one JSON object per line, strict in both directions.

A frame is UTF-8, at most `MAX_FRAME` bytes with its newline. A duplicate key, NaN, an unknown or missing
field, a wrong type, a lone surrogate or deep nesting raises `WireError`.
"""

import array
import base64
import dataclasses
import functools
import json
import math
import sys
import types
import typing
from collections.abc import Hashable, Mapping
from typing import Any, Final, TypeVar

from secai_site.kernel.errors import InvalidRequest
from secai_site.kernel.inference.protocol import Delta, Done, Embeddings, Event, Failed, State

MAX_FRAME: Final = 4 * 1024 * 1024

T = TypeVar("T")


class WireError(InvalidRequest):
    """The other side sent something that is no frame of this protocol."""

    code = "engine.bad_frame"


EVENTS: Final[dict[str, type[State] | type[Delta] | type[Done] | type[Failed]]] = {
    "state": State,
    "delta": Delta,
    "done": Done,
    "failed": Failed,
}
_EVENT_NAMES: Final = {cls: name for name, cls in EVENTS.items()}


def dump_frame(frame: Mapping[str, Any]) -> bytes:
    """One line; raises `WireError` when it would be too long or cannot be written as UTF-8."""
    try:
        line = json.dumps(frame, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"
    except ValueError as error:
        raise WireError(f"not sendable: {error}") from None
    if len(line) > MAX_FRAME:
        raise WireError(f"a frame has at most {MAX_FRAME} bytes", status=413)
    return line


def parse_frame(line: bytes) -> dict[str, Any]:
    """The JSON object of one line; raises `WireError`."""
    if len(line) > MAX_FRAME:
        raise WireError(f"a frame has at most {MAX_FRAME} bytes", status=413)
    try:
        frame = json.loads(line, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise WireError(f"not a JSON line: {error}") from None
    if not isinstance(frame, dict):
        raise WireError("a frame is a JSON object")
    return frame


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate key")
    return members


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def pack(value: Any) -> dict[str, Any]:
    """The JSON members of one of the protocol's dataclasses."""
    return {f.name: _pack_value(getattr(value, f.name)) for f in dataclasses.fields(value)}


def _pack_value(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return pack(value)
    if isinstance(value, tuple):
        return [_pack_value(item) for item in value]
    return dict(value) if isinstance(value, Mapping) else value


def unpack(cls: type[T], members: Any) -> T:
    """Build `cls` from JSON members; raises `WireError`, or `InvalidRequest` for a value out of range."""
    if not isinstance(members, dict):
        raise WireError(f"{cls.__name__} must be an object")
    hints, required = _shape(typing.cast(Hashable, cls))
    unknown = members.keys() - hints.keys()
    missing = required - members.keys()
    if unknown or missing:
        raise WireError(f"{cls.__name__}: unknown {sorted(unknown)}, missing {sorted(missing)}")
    return cls(**{name: _convert(hints[name], value, name) for name, value in members.items()})


@functools.cache
def _shape(cls: Hashable) -> tuple[dict[str, Any], frozenset[str]]:
    fields = dataclasses.fields(typing.cast(Any, cls))
    absent = dataclasses.MISSING
    required = frozenset(f.name for f in fields if f.default is absent and f.default_factory is absent)
    return typing.get_type_hints(cls), required


def _convert(hint: Any, value: Any, name: str) -> Any:
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        return _convert_optional(hint, value, name)
    if origin is typing.Literal:
        return _checked(value in typing.get_args(hint), value, name)
    if origin is tuple:
        return tuple(
            _convert(typing.get_args(hint)[0], item, name) for item in _checked_type(list, value, name)
        )
    if origin is not None:
        return _checked_type(dict, value, name)
    if dataclasses.is_dataclass(hint):
        return unpack(typing.cast(type, hint), value)
    return _convert_plain(hint, value, name)


def _convert_optional(hint: Any, value: Any, name: str) -> Any:
    if value is None:
        return None
    inner = next(part for part in typing.get_args(hint) if part is not type(None))
    return _convert(inner, value, name)


def _convert_plain(hint: type, value: Any, name: str) -> Any:
    if hint is float and type(value) is int:
        return float(value)
    if hint is str and isinstance(value, str):
        return _checked(_is_unicode(value), value, name)
    return _checked_type(hint, value, name)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _checked_type(expected: type, value: Any, name: str) -> Any:
    return _checked(type(value) is expected, value, name)


def _checked(condition: bool, value: Any, name: str) -> Any:
    if not condition:
        raise WireError(f"{name} has a wrong value")
    return value


def event_frame(event: Event) -> dict[str, Any]:
    """The frame of an event: `{"event": "delta", "seq": 0, "text": "…"}`."""
    if isinstance(event, Delta):  # the hot one
        return {"event": "delta", "seq": event.seq, "text": event.text}
    return {"event": _EVENT_NAMES[type(event)], **pack(event)}


def parse_event(frame: Mapping[str, Any]) -> Event:
    """The event of a frame; raises `WireError`."""
    members = dict(frame)
    cls = EVENTS.get(members.pop("event", None) or "")
    if cls is None:
        raise WireError("unknown event")
    return unpack(cls, members)


def pack_embeddings(embeddings: Embeddings) -> dict[str, Any]:
    """The JSON members of vectors: each in base64 of its 32-bit floats, little endian, which is exact and short."""
    return {"tokens": embeddings.tokens, "vectors": [_pack_vector(each) for each in embeddings.vectors]}


def unpack_embeddings(members: Any, *, count: int) -> Embeddings:
    """The `count` vectors of these members, all of one length and finite; raises `WireError`."""
    plain = unpack(_PackedEmbeddings, members)
    vectors = tuple(map(_unpack_vector, plain.vectors))
    lengths = set(map(len, vectors))
    if len(vectors) != count or len(lengths) != 1 or 0 in lengths or plain.tokens < count:
        raise WireError("these are not the vectors that were asked for")
    return Embeddings(vectors, plain.tokens)


@dataclasses.dataclass(frozen=True)
class _PackedEmbeddings:
    tokens: int
    vectors: tuple[str, ...]


def _pack_vector(vector: tuple[float, ...]) -> str:
    floats = array.array("f", vector)
    if sys.byteorder == "big":
        floats.byteswap()
    return base64.b64encode(floats.tobytes()).decode("ascii")


def _unpack_vector(text: str) -> tuple[float, ...]:
    floats = array.array("f")
    try:
        floats.frombytes(base64.b64decode(text, validate=True))
    except ValueError:
        raise WireError("a vector is base64 of 32-bit floats") from None
    if sys.byteorder == "big":
        floats.byteswap()
    if not all(map(math.isfinite, floats)):
        raise WireError("a vector has finite numbers only")
    return tuple(floats)
