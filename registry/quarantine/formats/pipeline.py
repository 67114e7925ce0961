"""A picture pipeline in the folders of diffusers, read as an enemy would have written it.

What breaks the form (names, places, JSON, weights) is a `FormatError`. What keeps the form and asks for
something that it should not (unknown parts, program code, addresses, absurd sizes) is a finding, which the
diffusion stage refuses: both come of one reading of the same open files.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, islice
from typing import Any, Final

from registry.quarantine.formats.errors import FormatError
from registry.quarantine.formats.members import Member, check_paths
from registry.quarantine.formats.pipeline_json import read_settings, read_text, wrong
from registry.quarantine.formats.pipeline_parts import (
    INDEX,
    PIPELINES,
    TEXTS,
    VOCABULARIES,
    Component,
)
from registry.quarantine.formats.pipeline_paths import check_complete, check_places
from registry.quarantine.formats.pipeline_settings import Finding, examine, origins
from registry.quarantine.formats.pipeline_vocabulary import check_vocabulary
from registry.quarantine.formats.pipeline_weights import read_weights
from registry.quarantine.formats.safetensors import SafetensorsFile
from registry.quarantine.formats.tensors import dominant_type, shown

MAX_TEXT: Final = 1 << 20
MAX_COMPONENTS: Final = 32
MAX_FINDINGS: Final = 50
PART_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
LICENSE: Final = re.compile(r"^license: *[\"']?([\w.+-]{1,60})[\"']? *$", re.ASCII | re.MULTILINE)


@dataclass(frozen=True)
class Pipeline:
    """A pipeline whose files hold together. `name` is its class in diffusers, `weights` are by path, `sizes` the
    bytes of every file by path, `findings` what the diffusion stage refuses, `notes` what it only mentions.
    """

    name: str
    components: tuple[Component, ...]
    weights: Mapping[str, SafetensorsFile]
    sizes: Mapping[str, int]
    license: str | None
    findings: tuple[Finding, ...]
    notes: tuple[Finding, ...]

    @property
    def format(self) -> str:
        """Always `"diffusion"`."""
        return "diffusion"

    @property
    def parameters(self) -> int:
        """Number of weights in all files; a part in two precisions counts twice."""
        return sum(one.parameters for one in self.weights.values())

    def facts(self) -> dict[str, Any]:
        """What the catalogue and the diffusion stage need, as plain JSON; sizes in bytes."""
        tensors = [tensor for one in self.weights.values() for tensor in one.tensors]
        return {
            "architecture": self.name,
            "components": [
                {"name": one.name, "library": one.library, "class": one.class_name} for one in self.components
            ],
            "parameters": self.parameters,
            "quantization": dominant_type(tensors) or "unknown",
            "tensor_count": len(tensors),
            "tensor_types": dict(Counter(tensor.type for tensor in tensors)),
            "files": len(self.sizes),
            "bytes": sum(self.sizes.values()),
            "license": self.license,
            "pipeline_findings": [asdict(one) for one in self.findings],
            "pipeline_notes": [asdict(one) for one in self.notes],
        }

    def fingerprint(self) -> str:
        """Hex SHA-256 of the structure: class, parts, and each file's tensors by name, shape and type."""
        structure = {
            "version": 1,
            "format": self.format,
            "architecture": self.name,
            "components": sorted([one.name, one.library, one.class_name] for one in self.components),
            "tensors": {
                path: sorted([tensor.name, tensor.dims, tensor.type] for tensor in one.tensors)
                for path, one in self.weights.items()
            },
        }
        return hashlib.sha256(json.dumps(structure, sort_keys=True).encode()).hexdigest()


def read_pipeline(members: Sequence[Member]) -> Pipeline:
    """Validate the pipeline that `members` are all files of; raises `FormatError` with the first thing wrong."""
    check_paths(members)
    by_path = {member.path: member for member in members}
    if INDEX not in by_path:
        raise FormatError(f"There is no {INDEX}, so this is no pipeline", None, "pipeline.index.missing")
    index = read_settings(by_path[INDEX])
    name, components = _parts(by_path[INDEX], index)
    check_places(by_path, components)
    check_complete(by_path, components)
    weights = read_weights(members)
    documents = {INDEX: index} | {
        path: read_settings(member) for path, member in by_path.items() if _is_config(path, components)
    }
    stated = _check_texts(members)
    findings = chain(_unlisted(name, components.values()), _examined(documents, weights))
    return Pipeline(
        name=name,
        components=tuple(components.values()),
        weights=weights,
        sizes={path: member.size for path, member in by_path.items()},
        license=stated,
        findings=tuple(islice(findings, MAX_FINDINGS)),
        notes=tuple(islice(_notes(documents), MAX_FINDINGS)),
    )


def _parts(member: Member, index: Mapping[str, Any]) -> tuple[str, dict[str, Component]]:
    """The pipeline's class, and its parts by name; a part that is `[null, null]` was left out by its author."""
    name = index.get("_class_name")
    if not isinstance(name, str) or not name.isidentifier():
        raise wrong(member, "must name the pipeline's class", "pipeline.index.class")
    pairs = {key: value for key, value in index.items() if isinstance(value, list | dict)}
    if len(pairs) > MAX_COMPONENTS:
        raise wrong(
            member, f"names {len(pairs):,} parts; at most {MAX_COMPONENTS} are allowed", "pipeline.index.part"
        )
    parts = (_part(member, key, value) for key, value in pairs.items() if value != [None, None])
    return name, {part.name: part for part in parts}


def _part(member: Member, key: str, value: object) -> Component:
    match value:
        case [str(library), str(class_name)] if PART_NAME.fullmatch(key):
            return Component(key, library, class_name)
    raise wrong(member, f"must give “{shown(key)}” as a library and a class of it", "pipeline.index.part")


def _is_config(path: str, components: Mapping[str, Component]) -> bool:
    folder, _, filename = path.rpartition("/")
    return folder in components and components[folder].is_config(filename)


def _check_texts(members: Iterable[Member]) -> str | None:
    """Check vocabularies and texts; answers the licence that the README states, as its author wrote it."""
    stated = None
    for member in members:
        filename = member.path.rpartition("/")[2]
        if filename in VOCABULARIES:
            check_vocabulary(member)
        elif TEXTS.fullmatch(filename):
            stated = _license(read_text(member, MAX_TEXT)) or stated
    return stated


def _license(text: str) -> str | None:
    """The licence in the block of fields between two lines of dashes that a model card begins with."""
    opening, _, rest = text.replace("\r\n", "\n").partition("---\n")
    found = LICENSE.search(rest.partition("\n---")[0]) if not opening else None
    return found[1] if found else None


def _unlisted(name: str, components: Iterable[Component]) -> Iterator[Finding]:
    if name not in PIPELINES:
        yield Finding(
            "pipeline.unlisted", INDEX, f"“{shown(name)}” is not a kind of pipeline that SecAI knows"
        )
    for one in components:
        if one.kind is None:
            loaded = shown(f"{one.library}.{one.class_name}")
            text = f"“{one.name}” would be loaded as {loaded}, which is no known part of a pipeline"
            yield Finding("component.unlisted", INDEX, text)


def _examined(
    documents: Mapping[str, Mapping[str, Any]], weights: Mapping[str, SafetensorsFile]
) -> Iterator[Finding]:
    for path, document in documents.items():
        yield from examine(path, document, _widest(path.rpartition("/")[0], weights))


def _widest(folder: str, weights: Mapping[str, SafetensorsFile]) -> int | None:
    """The largest dimension of all tensors in a part's folder; `None` where there are none."""
    tensors = (t for path, one in weights.items() if path.startswith(f"{folder}/") for t in one.tensors)
    return max((dim for tensor in tensors for dim in tensor.dims), default=None)


def _notes(documents: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    for path, document in documents.items():
        yield from origins(path, document)
