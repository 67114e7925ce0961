"""The whole model behind one or several files: which kind it is, its tensors and its facts."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from registry.quarantine.formats.detect import NotAModel, detect
from registry.quarantine.formats.errors import FormatError
from registry.quarantine.formats.gguf import GgufPart, read_gguf
from registry.quarantine.formats.gguf_facts import TEMPLATE, Facts
from registry.quarantine.formats.gguf_set import read_gguf_set
from registry.quarantine.formats.gguf_values import ArraySummary, LongText, Value
from registry.quarantine.formats.manifest import Part, fingerprint
from registry.quarantine.formats.members import Member, check_paths
from registry.quarantine.formats.pipeline import read_pipeline
from registry.quarantine.formats.safetensors import SafetensorsFile, read_safetensors
from registry.quarantine.formats.safetensors_set import WEIGHTS, read_safetensors_set
from registry.quarantine.formats.tensors import Tensor, dominant_type

PIPELINE = "model_index.json"
GGUF = ".gguf"


@dataclass(frozen=True)
class Model:
    """A model whose headers hold together: `format` is `gguf`, `safetensors` or `diffusion`; `parts` are the files
    with tensors; `facts` are of the whole model and plain JSON; `fingerprint` is the hex SHA-256 of its structure.
    """

    format: str
    parts: tuple[Part, ...]
    facts: Mapping[str, Any]
    fingerprint: str


def read_model(members: Sequence[Member], *, is_set: bool) -> Model:
    """Validate a model in one file, whatever its name, or in a set, by its names and contents.

    Raises `FormatError` with the first thing wrong. Reads headers only.
    """
    if not is_set:
        if len(members) != 1:
            raise FormatError("One file was announced, but there are more or none", None, "set.count")
        return _read_file(members[0])
    check_paths(members)
    return _read_set(members)


def _read_file(member: Member) -> Model:
    detected = detect(member.fd, member.size)
    if isinstance(detected, NotAModel):
        raise FormatError(detected.reason, detected.offset, detected.code)
    if detected.kind == "gguf":
        model = read_gguf(member.fd, member.size)
        return _gguf((model.part,), model.facts)
    return _safetensors((read_safetensors(member.fd, member.size),), ())


def _read_set(members: Sequence[Member]) -> Model:
    paths = [member.path for member in members]
    if PIPELINE in paths:
        pipeline = read_pipeline(members)
        return Model(
            pipeline.format, tuple(pipeline.weights.values()), pipeline.facts(), pipeline.fingerprint()
        )
    if any(path.endswith(GGUF) for path in paths):
        found = read_gguf_set(members)
        return _gguf(found.parts, found.facts)
    if any(path.endswith(WEIGHTS) for path in paths):
        several = read_safetensors_set(members)
        return _safetensors(several.parts, several.notes)
    raise FormatError(
        "This set is no model: a set is all parts of one GGUF model, or all parts of one safetensors model with its "
        f"index, or the folder of a picture pipeline with {PIPELINE} at its root",
        None,
        "set.unknown",
    )


def _gguf(parts: tuple[GgufPart, ...], facts: Facts) -> Model:
    first = parts[0]
    known = asdict(facts)
    memory = known.pop("memory")
    described = _common(parts) | known | memory | {
        "version": first.version,
        "alignment": first.alignment,
        "metadata": _plain(first.metadata),
    }  # fmt: skip
    tokenizer = [facts.tokenizer_model, facts.tokenizer_size]
    return Model("gguf", parts, described, fingerprint("gguf", parts, facts.architecture, tokenizer))


def _safetensors(parts: tuple[SafetensorsFile, ...], notes: Iterable[str]) -> Model:
    described = _common(parts) | {
        "quantization": dominant_type(_tensors(parts)) or "unknown",
        "metadata": dict(parts[0].metadata),
        "notes": list(notes),
    }
    return Model("safetensors", parts, described, fingerprint("safetensors", parts))


def _common(parts: Sequence[Part]) -> dict[str, Any]:
    tensors = _tensors(parts)
    return {
        "parameters": sum(tensor.elements for tensor in tensors),
        "tensor_count": len(tensors),
        "tensor_types": dict(Counter(tensor.type for tensor in tensors)),
        "data_offset": parts[0].data_offset,
        "files": len(parts),
    }


def _tensors(parts: Sequence[Part]) -> list[Tensor]:
    return [tensor for part in parts for tensor in part.tensors]


def _plain(metadata: Mapping[str, Value]) -> dict[str, Any]:
    """The metadata as JSON, without the chat templates, which the facts have, and without lists."""
    return {key: _summary(value) for key, value in metadata.items() if not key.startswith(TEMPLATE)}


def _summary(value: Value) -> Any:
    if isinstance(value, ArraySummary):
        return {"type": value.type, "length": value.length, "sha256": value.sha256}
    return asdict(value) if isinstance(value, LongText) else value
