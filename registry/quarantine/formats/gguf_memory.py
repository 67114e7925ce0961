"""What a GGUF header says about the memory that a run needs: attention, state, experts.

Source of the keys: `Keys` in gguf-py `constants.py`; of the pooling types: `llama_pooling_type` in `llama.h`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from registry.quarantine.formats.errors import FormatError
from registry.quarantine.formats.gguf_values import ArraySummary, Value

MAX_COUNT: Final = 2**31 - 1
POOLING: Final = ("none", "mean", "cls", "last", "rank")
# Layers that keep a state of fixed size in place of, or beside, a growing cache.
RECURRENT: Final = (".ssm.", ".wkv.", ".full_attention_interval", ".shortconv.", ".kda.")


@dataclass(frozen=True)
class MemoryFacts:
    """Counts of elements, heads or tokens, `None` where the header is silent.

    `head_count_kv` and `sliding_window_pattern` are one number, or a tuple with one for each layer (at most 1,024
    layers, else `None`); a pattern of n means that every n-th layer sees everything, a tuple holds 1 for each layer
    with a window. `key_length` to `value_length_swa` are sizes of one head; `kv_lora_rank` and the `_mla` lengths
    are given by models with multi-head latent attention. `pooling` is one of `POOLING`; `causal` is false for
    encoders; `recurrent`: some layers keep a state instead of a cache.
    """

    head_count_kv: int | tuple[int, ...] | None
    key_length: int | None
    value_length: int | None
    key_length_swa: int | None
    value_length_swa: int | None
    sliding_window: int | None
    sliding_window_pattern: int | tuple[int, ...] | None
    shared_kv_layers: int | None
    q_lora_rank: int | None
    kv_lora_rank: int | None
    key_length_mla: int | None
    value_length_mla: int | None
    rope_dimension_count: int | None
    feed_forward_length: int | None
    vocab_size: int | None
    expert_count: int | None
    expert_used_count: int | None
    expert_shared_count: int | None
    full_attention_interval: int | None
    ssm_conv_kernel: int | None
    ssm_inner_size: int | None
    ssm_state_size: int | None
    ssm_group_count: int | None
    wkv_head_size: int | None
    recurrent: bool
    pooling: str | None
    causal: bool | None


def read_memory_facts(metadata: Mapping[str, Value], architecture: str, tokens: int | None) -> MemoryFacts:
    """Facts of a valid header, `tokens` being the length of its vocabulary; raises `FormatError`."""

    def one(key: str) -> int | None:
        return count(metadata, f"{architecture}.{key}", per_layer=True)

    def layers(key: str) -> int | tuple[int, ...] | None:
        return _per_layer(metadata, f"{architecture}.{key}")

    return MemoryFacts(
        head_count_kv=layers("attention.head_count_kv"),
        key_length=one("attention.key_length"),
        value_length=one("attention.value_length"),
        key_length_swa=one("attention.key_length_swa"),
        value_length_swa=one("attention.value_length_swa"),
        sliding_window=one("attention.sliding_window"),
        sliding_window_pattern=layers("attention.sliding_window_pattern"),
        shared_kv_layers=one("attention.shared_kv_layers"),
        q_lora_rank=one("attention.q_lora_rank"),
        kv_lora_rank=one("attention.kv_lora_rank"),
        key_length_mla=one("attention.key_length_mla"),
        value_length_mla=one("attention.value_length_mla"),
        rope_dimension_count=one("rope.dimension_count"),
        feed_forward_length=one("feed_forward_length"),
        vocab_size=one("vocab_size") or tokens,
        expert_count=one("expert_count"),
        expert_used_count=one("expert_used_count"),
        expert_shared_count=one("expert_shared_count"),
        full_attention_interval=one("full_attention_interval"),
        ssm_conv_kernel=one("ssm.conv_kernel"),
        ssm_inner_size=one("ssm.inner_size"),
        ssm_state_size=one("ssm.state_size"),
        ssm_group_count=one("ssm.group_count"),
        wkv_head_size=one("wkv.head_size"),
        recurrent=any(key.startswith(tuple(architecture + mark for mark in RECURRENT)) for key in metadata),
        pooling=_pooling(metadata, f"{architecture}.pooling_type"),
        causal=_truth(metadata, f"{architecture}.attention.causal"),
    )


def count(
    metadata: Mapping[str, Value], key: str, *, per_layer: bool = False, most: int = MAX_COUNT
) -> int | None:
    """A count from 0 to `most`; with `per_layer` a list is legal too and gives `None`."""
    value = metadata.get(key)
    if value is None or (per_layer and isinstance(value, ArraySummary)):
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise FormatError(f"{key} must be a whole number", None, "gguf.metadata.type")
    return _in_range(key, value, most)


def _in_range(key: str, value: int, most: int = MAX_COUNT) -> int:
    if not 0 <= value <= most:
        raise FormatError(f"{key} is {value:,}; 0 to {most:,} are possible", None, "gguf.metadata.range")
    return value


def _per_layer(metadata: Mapping[str, Value], key: str) -> int | tuple[int, ...] | None:
    value = metadata.get(key)
    if isinstance(value, ArraySummary):
        return tuple(_in_range(key, one) for one in value.values) if value.values is not None else None
    return int(value) if isinstance(value, bool) else count(metadata, key)


def _pooling(metadata: Mapping[str, Value], key: str) -> str | None:
    number = count(metadata, key)
    if number is None:
        return None
    if number >= len(POOLING):
        raise FormatError(
            f"{key} is {number:,}; 0 to {len(POOLING) - 1} are known", None, "gguf.metadata.range"
        )
    return POOLING[number]


def _truth(metadata: Mapping[str, Value], key: str) -> bool | None:
    value = metadata.get(key)
    if value is not None and not isinstance(value, bool):
        raise FormatError(f"{key} must be true or false", None, "gguf.metadata.type")
    return value
