"""What a GGUF header says about the model: checked facts, and notes where it contradicts itself.

Source of the keys: ggml `docs/gguf.md`, "Standardized key-value pairs".
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from registry.quarantine.formats import gguf_types as tables
from registry.quarantine.formats.errors import FormatError
from registry.quarantine.formats.gguf_memory import MemoryFacts, count, read_memory_facts
from registry.quarantine.formats.gguf_values import ArraySummary, LongText, Value
from registry.quarantine.formats.tensors import Tensor, dominant_type, shown

ARCHITECTURE = re.compile(r"[a-z0-9][a-z0-9_.\-]{0,63}")
TEMPLATE = "tokenizer.chat_template"
TOKENS = "tokenizer.ggml.tokens"


@dataclass(frozen=True)
class Facts:
    """What the header says, `None` where it is silent.

    `quantization` is the name people use (`Q4_K_M`); `templates` are the named ones beside `chat_template`;
    `memory` is what a run of it needs to keep; `notes` are sentences about contradictions that do not make the
    file invalid.
    """

    architecture: str
    kind: str | None
    name: str | None
    license: str | None
    file_type: int | None
    quantization: str
    context_length: int | None
    block_count: int | None
    embedding_length: int | None
    head_count: int | None
    tokenizer_model: str | None
    tokenizer_size: int | None
    tokenizer_sha256: str | None
    chat_template: str | None
    templates: Mapping[str, str]
    memory: MemoryFacts
    notes: tuple[str, ...]


def read_facts(metadata: Mapping[str, Value], tensors: Sequence[Tensor]) -> Facts:
    """Facts of a valid header; raises `FormatError` where a well-known key is not what it must be."""
    architecture = _architecture(metadata)
    tokens = _tokens(metadata)
    file_type = count(metadata, "general.file_type")
    quantization, notes = _quantization(file_type, tensors)
    return Facts(
        architecture=architecture,
        kind=_text(metadata, "general.type"),
        name=_text(metadata, "general.name"),
        license=_text(metadata, "general.license"),
        file_type=file_type,
        quantization=quantization,
        context_length=count(metadata, f"{architecture}.context_length"),
        block_count=count(metadata, f"{architecture}.block_count", most=tables.MAX_LAYERS),
        embedding_length=count(metadata, f"{architecture}.embedding_length"),
        head_count=count(metadata, f"{architecture}.attention.head_count", per_layer=True),
        tokenizer_model=_text(metadata, "tokenizer.ggml.model"),
        tokenizer_size=tokens.length if tokens else None,
        tokenizer_sha256=tokens.sha256 if tokens else None,
        chat_template=_text(metadata, TEMPLATE),
        templates=_templates(metadata),
        memory=read_memory_facts(metadata, architecture, tokens.length if tokens else None),
        notes=notes,
    )


def refuse_lone_part(metadata: Mapping[str, Value]) -> None:
    """Raise `FormatError` for one part of a model that has more."""
    parts = count(metadata, "split.count") or 0
    if parts > 1:
        place = (count(metadata, "split.no") or 0) + 1
        raise FormatError(
            f"This is part {place:,} of {parts:,} of a model; drop all parts together", None, "gguf.split"
        )


def _architecture(metadata: Mapping[str, Value]) -> str:
    value = metadata.get("general.architecture")
    if not isinstance(value, str) or not ARCHITECTURE.fullmatch(value):
        said = "missing" if value is None else f"“{shown(str(value))}”"
        raise FormatError(
            f"general.architecture is {said}; it must be a short name like “llama”", None, "gguf.architecture"
        )
    return value


def _tokens(metadata: Mapping[str, Value]) -> ArraySummary | None:
    """The vocabulary; the lists beside it must be as long, because readers index them without a check."""
    tokens = metadata.get(TOKENS)
    if tokens is None:
        return None
    if not isinstance(tokens, ArraySummary) or tokens.type != "string":
        raise FormatError(f"{TOKENS} is not a list of texts", None, "gguf.tokenizer")
    for key, kind in (("scores", "float32"), ("token_type", "int32")):
        beside = metadata.get(f"tokenizer.ggml.{key}")
        if beside is None:
            continue
        if not isinstance(beside, ArraySummary) or (beside.type, beside.length) != (kind, tokens.length):
            raise FormatError(
                f"tokenizer.ggml.{key} must be a list of {tokens.length:,} {kind}, one for each token",
                None,
                "gguf.tokenizer",
            )
    return tokens


def _templates(metadata: Mapping[str, Value]) -> dict[str, str]:
    named = [key for key in metadata if key.startswith(TEMPLATE + ".")]
    return {key[len(TEMPLATE) + 1 :]: _text(metadata, key) or "" for key in named}


def _text(metadata: Mapping[str, Value], key: str) -> str | None:
    """A text, `None` where there is none or where it is too long to be a fact."""
    value = metadata.get(key)
    if value is None or isinstance(value, LongText):
        return None
    if not isinstance(value, str):
        raise FormatError(f"{key} must be a text", None, "gguf.metadata.type")
    return value


def _quantization(file_type: int | None, tensors: Sequence[Tensor]) -> tuple[str, tuple[str, ...]]:
    """The header's name for it, unless the weights plainly say otherwise.

    Mixed recipes and fallbacks for odd row lengths move the dominant type by about a bit per weight; more
    than 1.5 bits apart is a wrong label.
    """
    found = dominant_type(tensors) or "unknown"
    if file_type is None or file_type not in tables.FILE_TYPES:
        return found, ()
    label, base = tables.FILE_TYPES[file_type]
    apart = abs(tables.BITS_PER_WEIGHT[base] - tables.BITS_PER_WEIGHT.get(found, 0.0))
    if apart <= 1.5:
        return label, ()
    return found, (f"The header calls itself {label}, but most of its weights are {found}",)
