"""What a model can be used for, told from its header. Pure."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class Purpose(StrEnum):
    """`weights`: a sound file that no engine of this box runs."""

    CHAT = "chat"
    COMPLETION = "completion"
    EMBEDDING = "embedding"
    PICTURES = "pictures"
    WEIGHTS = "weights"


# Encoders: they read a text into a vector and cannot write one. llama.cpp `src/llama-arch.cpp`.
ENCODERS = frozenset(
    {"bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2", "jina-bert-v3", "eurobert",
     "gemma-embedding", "t5encoder"}
)  # fmt: skip


def purpose_of(kind: str | None, facts: Mapping[str, Any]) -> Purpose:
    """The purpose of a well-formed model of the format `kind` with these facts."""
    if kind == "diffusion":
        return Purpose.PICTURES
    if kind != "gguf" or facts.get("kind") not in (None, "model"):
        return Purpose.WEIGHTS  # adapters, projectors, vocabularies
    if facts.get("architecture") in ENCODERS or facts.get("pooling") not in (None, "none"):
        return Purpose.EMBEDDING
    return Purpose.CHAT if facts.get("chat_template") else Purpose.COMPLETION
