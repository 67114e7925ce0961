"""A GGUF model in several files, as llama.cpp's `gguf-split` and gguf-py write them.

Source: llama.cpp `tools/gguf-split`, `llama_split_path` in `llama.cpp`, gguf-py `gguf_writer.py`: the parts are called
`NAME-00001-of-00003.gguf`; each has `split.no` (from 0), `split.count` and `split.tensors.count` (of the whole model);
the first has all other metadata and may have no tensors. The engine finds the parts by their names.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from registry.quarantine.formats.detect import NotAModel, detect
from registry.quarantine.formats.errors import FormatError, within
from registry.quarantine.formats.gguf import GgufPart, read_part
from registry.quarantine.formats.gguf_facts import Facts, read_facts
from registry.quarantine.formats.gguf_memory import count
from registry.quarantine.formats.gguf_types import MAX_TENSORS
from registry.quarantine.formats.members import Member
from registry.quarantine.formats.tensors import shown

NAME: Final = re.compile(r"(?P<stem>[^/]+)-(?P<place>\d{5})-of-(?P<count>\d{5})\.gguf")


@dataclass(frozen=True)
class GgufSet:
    """A model in several GGUF files: `parts` in their order, `facts` of the whole."""

    parts: tuple[GgufPart, ...]
    facts: Facts


def read_gguf_set(members: Sequence[Member]) -> GgufSet:
    """Validate all parts of one model; raises `FormatError`, naming the file that is at fault."""
    ordered = _in_order(members)
    parts = tuple(within(member.path, partial(_part, member)) for member in ordered)
    _agree(parts)
    tensors = [tensor for part in parts for tensor in part.tensors]
    _no_tensor_twice(parts)
    announced = count(parts[0].metadata, "split.tensors.count")
    if announced != len(tensors):
        raise FormatError(
            f"The parts announce {_said(announced)} tensors and hold {len(tensors):,}",
            None,
            "gguf.set.tensors",
        )
    facts = within(parts[0].path, partial(read_facts, parts[0].metadata, tensors))
    return GgufSet(parts, facts)


def _in_order(members: Sequence[Member]) -> list[Member]:
    """The members by the place that their names give them: one of each, all of one model."""
    matches = [(member, _named(member, len(members))) for member in members]
    stem = matches[0][1]["stem"]
    for member, match in matches:
        if match["stem"] != stem:
            raise FormatError(
                f"“{member.name}” belongs to another model than “{shown(stem, 100)}”", None, "gguf.set.name"
            )
    for member, match in matches:
        _check_count(member, int(match["count"]), len(members))
    found = {int(match["place"]): member for member, match in matches}
    missing = next((place for place in range(1, len(members) + 1) if place not in found), None)
    if missing is not None:
        raise FormatError(
            f"Part {missing:,} of {len(members):,} is missing; drop all parts together",
            None,
            "gguf.set.missing",
        )
    return [found[place] for place in range(1, len(members) + 1)]


def _named(member: Member, count: int) -> re.Match[str]:
    match = NAME.fullmatch(member.path)
    if match is None:
        raise FormatError(
            f"“{member.name}” is not named like a part of a model, for example model-00001-of-{count:05d}.gguf; the "
            "engine finds the parts by their names, and nothing else may lie beside them",
            None,
            "gguf.set.name",
        )
    return match


def _check_count(member: Member, said: int, present: int) -> None:
    if said != present:
        raise FormatError(
            f"“{member.name}” is one of {said:,} parts, but {present:,} files are here; drop all parts together",
            None,
            "gguf.set.missing",
        )


def _part(member: Member) -> GgufPart:
    """One part, validated by itself; content decides, as for a single file."""
    detected = detect(member.fd, member.size)
    if isinstance(detected, NotAModel):
        raise FormatError(detected.reason, detected.offset, detected.code)
    if detected.kind != "gguf":
        raise FormatError("This is a safetensors file, not a GGUF", 0, "gguf.set.kind")
    return read_part(member.fd, member.size, member.path)


def _agree(parts: Sequence[GgufPart]) -> None:
    """Places and counts as the names say them, and nothing in a later part that the first does not say."""
    for place, part in enumerate(parts):
        within(part.path, partial(_check_part, part, place, parts))


def _check_part(part: GgufPart, place: int, parts: Sequence[GgufPart]) -> None:
    _check_split(part, place, parts)
    if place:
        _check_metadata(part, parts[0])
        if not part.tensors:
            raise FormatError("The part holds no tensors", 8, "gguf.tensor.none")


def _check_split(part: GgufPart, place: int, parts: Sequence[GgufPart]) -> None:
    number, total = count(part.metadata, "split.no"), count(part.metadata, "split.count")
    if number != place or total != len(parts):
        here = f"part {number + 1:,}" if number is not None else "no part"
        raise FormatError(
            f"By its name this is part {place + 1:,} of {len(parts):,}, by its header it is {here} of {_said(total)}",
            None,
            "gguf.set.place",
        )
    if count(part.metadata, "split.tensors.count") != count(parts[0].metadata, "split.tensors.count"):
        raise FormatError(
            "The parts announce different numbers of tensors for the whole model", None, "gguf.set.tensors"
        )


def _check_metadata(part: GgufPart, first: GgufPart) -> None:
    for key, value in part.metadata.items():
        if key.startswith("split.") or key == "general.alignment":
            continue
        if not key.startswith("general.") or first.metadata.get(key) != value:
            raise FormatError(
                f"“{shown(key)}” is not what the first part says; only the first part describes the model",
                None,
                "gguf.set.metadata",
            )


def _no_tensor_twice(parts: Sequence[GgufPart]) -> None:
    owners: dict[str, str] = {}
    for name, path in _names(parts):
        if name in owners:
            raise FormatError(
                f"The tensor “{name}” is in two parts, {shown(owners[name], 100)} and {shown(path, 100)}",
                None,
                "gguf.set.duplicate",
            )
        owners[name] = path
    if len(owners) > MAX_TENSORS:
        raise FormatError(
            f"The parts hold {len(owners):,} tensors; at most {MAX_TENSORS:,} are allowed",
            None,
            "gguf.tensor.count",
        )


def _names(parts: Sequence[GgufPart]) -> Iterator[tuple[str, str]]:
    return ((tensor.name, part.path) for part in parts for tensor in part.tensors)


def _said(number: int | None) -> str:
    return "no number of" if number is None else f"{number:,}"
