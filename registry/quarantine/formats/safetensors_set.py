"""A safetensors model in several files with an index, as Hugging Face repositories hold it.

Source: `transformers` and `huggingface_hub`: `NAME.safetensors.index.json` is an object with `weight_map` (tensor to
file) and `metadata` (`total_size`, the bytes of all tensors). Files that describe the model may lie beside.
"""

import codecs
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from registry.quarantine.formats.detect import NotAModel, detect
from registry.quarantine.formats.errors import FormatError, within
from registry.quarantine.formats.members import Member
from registry.quarantine.formats.reader import Reader
from registry.quarantine.formats.safetensors import MAX_TENSORS, SafetensorsFile, read_safetensors
from registry.quarantine.formats.strict_json import StrictJson
from registry.quarantine.formats.tensors import shown

WEIGHTS: Final = ".safetensors"
INDEX: Final = ".safetensors.index.json"
BESIDE: Final = (".json", ".txt", ".md")
MAX_INDEX: Final = 16 << 20
MAX_BESIDE: Final = 64 << 20
# `total_size` is a remark that nothing relies on, and wrong after a conversion; no conversion exceeds this factor.
PLAUSIBLE: Final = 8
JSON: Final = StrictJson(
    what="The index",
    at=0,
    prefix="safetensors.index",
    duplicate="safetensors.index.duplicate",
    crowded="safetensors.index.json",
    most=8,
    values=4 * MAX_TENSORS,
    floats=True,
)


@dataclass(frozen=True)
class SafetensorsSet:
    """A model in several files: `parts` by name, `notes` about harmless contradictions."""

    parts: tuple[SafetensorsFile, ...]
    notes: tuple[str, ...]


def read_safetensors_set(members: Sequence[Member]) -> SafetensorsSet:
    """Validate the parts of one model, its index and what lies beside; raises `FormatError` naming the file."""
    index = _only_index(members)
    shards = sorted((one for one in members if one.path.endswith(WEIGHTS)), key=lambda one: one.path)
    for member in members:
        if member is not index and member not in shards:
            within(member.path, partial(_check_beside, member))
    mapping, total = within(index.path, partial(_read_index, index))
    _check_files(index, mapping, shards)
    parts = tuple(within(shard.path, partial(_read_shard, shard)) for shard in shards)
    _check_tensors(index, mapping, parts)
    return SafetensorsSet(parts, _total_size(index, total, parts))


def _only_index(members: Sequence[Member]) -> Member:
    found = [one for one in members if one.path.endswith(INDEX)]
    if len(found) != 1:
        said = "no index" if not found else f"{len(found)} indexes"
        raise FormatError(
            f"The set has {said}; a safetensors model in parts has one file NAME{INDEX}, and one in a single file is "
            "dropped as that file",
            None,
            "safetensors.set.index",
        )
    if "/" in found[0].path:
        raise FormatError(
            f"The index “{found[0].name}” must lie beside the parts", None, "safetensors.set.index"
        )
    return found[0]


def _check_beside(member: Member) -> None:
    """A file beside the weights: text of a known kind, which nothing on the box runs or reads."""
    if "/" in member.path or not member.path.lower().endswith(BESIDE):
        raise FormatError(
            f"“{member.name}” is neither a part nor a description; only {', '.join(BESIDE)} files may lie beside the "
            "weights. Leave it out",
            None,
            "safetensors.set.foreign",
        )
    if member.size > MAX_BESIDE:
        raise FormatError(
            f"The file has {member.size:,} bytes; at most {MAX_BESIDE:,} are allowed",
            None,
            "safetensors.set.beside",
        )
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0
    for chunk in Reader(member.fd, member.size, "safetensors.set").chunks(0, member.size):
        try:
            text = decoder.decode(chunk, final=offset + len(chunk) == member.size)
        except UnicodeDecodeError:
            raise FormatError("The file is not text in UTF-8", offset, "safetensors.set.beside") from None
        if "\0" in text:
            raise FormatError("The file is not text: it holds NUL", offset, "safetensors.set.beside")
        offset += len(chunk)


def _read_index(member: Member) -> tuple[dict[str, str], object]:
    """The map from tensors to files, and `total_size` as given."""
    if not 2 <= member.size <= MAX_INDEX:
        raise FormatError(
            f"The index has {member.size:,} bytes; 2 to {MAX_INDEX:,} are possible",
            None,
            "safetensors.index.size",
        )
    raw = Reader(member.fd, member.size, "safetensors.index").at(0, member.size)
    found = JSON.read(raw.strip(b" \t\r\n"))
    mapping, metadata = found.get("weight_map"), found.get("metadata", {})
    if not set(found) <= {"weight_map", "metadata"} or not isinstance(metadata, dict):
        raise FormatError(
            "The index must have weight_map and metadata only", None, "safetensors.index.fields"
        )
    if not isinstance(mapping, dict) or not all(isinstance(path, str) for path in mapping.values()):
        raise FormatError("weight_map must map tensors to files", None, "safetensors.index.fields")
    if not 1 <= len(mapping) <= MAX_TENSORS:
        raise FormatError(
            f"weight_map has {len(mapping):,} tensors; 1 to {MAX_TENSORS:,} are possible",
            None,
            "safetensors.index.count",
        )
    return mapping, metadata.get("total_size")


def _check_files(index: Member, mapping: Mapping[str, str], shards: Sequence[Member]) -> None:
    """The index and the set must name the same files: none outside, none missing, none left over."""
    here = {shard.path for shard in shards}
    for path in mapping.values():
        if path not in here:
            outside = "/" in path or "\\" in path or path in (".", "..")
            why = (
                "which leads out of the set"
                if outside
                else "which is not in the set; drop all parts together"
            )
            raise FormatError(
                f"The index names the file “{shown(path)}”, {why}",
                None,
                "safetensors.index.outside" if outside else "safetensors.set.missing",
                index.path,
            )
    if foreign := sorted(here - set(mapping.values())):
        raise FormatError(
            f"The index does not name “{shown(foreign[0], 100)}”", None, "safetensors.set.foreign", index.path
        )
    if nested := next((path for path in sorted(here) if "/" in path), None):
        raise FormatError(
            f"“{shown(nested, 100)}” must lie beside the index", None, "safetensors.set.foreign", nested
        )


def _read_shard(member: Member) -> SafetensorsFile:
    detected = detect(member.fd, member.size)
    if isinstance(detected, NotAModel):
        raise FormatError(detected.reason, detected.offset, detected.code)
    if detected.kind != "safetensors":
        raise FormatError("This is a GGUF, not a safetensors file", 0, "safetensors.set.kind")
    return read_safetensors(member.fd, member.size, member.path)


def _check_tensors(index: Member, mapping: Mapping[str, str], parts: Sequence[SafetensorsFile]) -> None:
    """Each tensor lies in exactly the file that the index names."""
    owners: dict[str, str] = {}
    for part in parts:
        for tensor in part.tensors:
            if tensor.name in owners:
                raise FormatError(
                    f"The tensor “{shown(tensor.name)}” is in two parts, {owners[tensor.name]} and {part.path}",
                    None,
                    "safetensors.set.duplicate",
                    part.path,
                )
            owners[tensor.name] = part.path
    for name in (*mapping, *owners):
        if mapping.get(name) != owners.get(name):
            raise FormatError(
                f"The index says that “{shown(name)}” is in {_place(mapping.get(name))}, but it is in "
                f"{_place(owners.get(name))}",
                None,
                "safetensors.index.tensor",
                index.path,
            )


def _place(path: str | None) -> str:
    return "no file" if path is None else shown(path, 100)


def _total_size(index: Member, total: object, parts: Sequence[SafetensorsFile]) -> tuple[str, ...]:
    """Nothing, or a note where the index is somewhat off; raises where it says what cannot be."""
    if total is None:
        return ()
    actual = sum(tensor.nbytes for part in parts for tensor in part.tensors)
    plain = isinstance(total, int | float) and not isinstance(total, bool) and math.isfinite(total)
    if (
        not isinstance(total, int | float)
        or not plain
        or not actual / PLAUSIBLE <= total <= actual * PLAUSIBLE
    ):
        raise FormatError(
            f"The index gives {shown(str(total))} bytes as total_size, but the tensors have {actual:,}",
            None,
            "safetensors.index.total",
            index.path,
        )
    return () if total == actual else (f"The index says {total:,} bytes, but the tensors have {actual:,}",)
