"""A pipeline's weights: each file by the safetensors validator, and sharded ones by their index."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from registry.quarantine.formats.detect import NotAModel, detect
from registry.quarantine.formats.errors import FormatError, within
from registry.quarantine.formats.members import Member
from registry.quarantine.formats.pipeline_json import MAX_ENTRIES, read_document, wrong
from registry.quarantine.formats.pipeline_parts import SHARD, WEIGHTS, WEIGHTS_INDEX
from registry.quarantine.formats.safetensors import SafetensorsFile, read_safetensors
from registry.quarantine.formats.tensors import shown

# in all files together; Flux with both encoders has some 2,000
MAX_TENSORS: Final = 65_536
MAX_INDEX: Final = 16 << 20


def read_weights(members: Sequence[Member]) -> dict[str, SafetensorsFile]:
    """All safetensors files of `members` by path, with their indexes checked; raises `FormatError`."""
    weights: dict[str, SafetensorsFile] = {}
    left = MAX_TENSORS
    for member in members:
        if not WEIGHTS.fullmatch(_filename(member.path)):
            continue
        weights[member.path] = within(member.path, partial(_read_one, member))
        left -= len(weights[member.path].tensors)
        if left < 0:
            raise FormatError(
                f"The weights have more than {MAX_TENSORS:,} tensors", None, "pipeline.tensor.count"
            )
    _check_indexes(members, weights)
    return weights


def _read_one(member: Member) -> SafetensorsFile:
    found = detect(member.fd, member.size)
    if isinstance(found, NotAModel):
        raise FormatError(found.reason, found.offset, found.code)
    return read_safetensors(member.fd, member.size, member.path)


def _check_indexes(members: Sequence[Member], weights: Mapping[str, SafetensorsFile]) -> None:
    indexed: set[str] = set()
    for member in members:
        if WEIGHTS_INDEX.fullmatch(_filename(member.path)):
            indexed |= _check_index(member, weights)
    for path in weights:
        if SHARD.search(path) and path not in indexed:
            raise FormatError(
                f"“{shown(path)}” is one part of several, and no index names it: files are missing",
                None,
                "pipeline.shards.index",
            )


def _check_index(member: Member, weights: Mapping[str, SafetensorsFile]) -> set[str]:
    """The paths of the shards that an index names, when it names all their tensors and no others."""
    folder = member.path.rpartition("/")[0]
    claimed: dict[str, set[str]] = {}
    for tensor, filename in _weight_map(member).items():
        if not isinstance(filename, str) or not WEIGHTS.fullmatch(filename):
            raise wrong(
                member,
                f"sends “{shown(tensor)}” to “{shown(str(filename))}”, which is no weights file beside it",
                "pipeline.shards.outside",
            )
        claimed.setdefault(f"{folder}/{filename}", set()).add(tensor)
    for path, tensors in claimed.items():
        if path not in weights:
            raise wrong(member, f"names “{shown(path)}”, which is missing", "pipeline.shards.missing")
        if tensors != {tensor.name for tensor in weights[path].tensors}:
            raise wrong(
                member, f"does not list the tensors that “{shown(path)}” has", "pipeline.shards.tensors"
            )
    return set(claimed)


def _weight_map(member: Member) -> dict[str, Any]:
    found = read_document(member, MAX_INDEX, MAX_ENTRIES).get("weight_map")
    if not isinstance(found, dict) or not found:
        raise wrong(member, "maps no tensors to files", "pipeline.shards.index")
    return found


def _filename(path: str) -> str:
    return path.rpartition("/")[2]
