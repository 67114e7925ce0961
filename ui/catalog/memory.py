"""How much memory a model needs, from the facts of its header: what llama.cpp allocates for it. Pure.

Sources, in llama.cpp: `src/llama-kv-cache.cpp`, `src/llama-kv-cache-iswa.cpp`, `src/llama-memory-recurrent.cpp` and
`llama_hparams::n_embd_r/n_embd_s`. `facts` are the checked facts of the format gate; what the header does not say is
None or absent there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CELLS_STEP = 256  # the number of cells of a cache is rounded up to a multiple of this
CACHE_VALUE_BYTES = 2  # keys and values are kept in half precision
STATE_VALUE_BYTES = 4
# Vocabulary tables, threads, allocator: measured as the growth of the engine beyond weights, cache and compute
# buffers, with 49,152 tokens (SmolLM2-135M) and 262,144 tokens (gemma-3-270m).
TOKEN_BYTES = 160
PROCESS_BYTES = 24 * 1024 * 1024

Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Allocation:
    """What the engine asks llama.cpp for: `context` tokens shared by `slots` sequences, `batch` tokens a step.

    `whole_window`: layers with a sliding window get cells for the whole context too (llama.cpp's `swa_full`, its
    default), which lets a conversation be taken up anywhere.
    """

    context: int
    slots: int
    batch: int = 128
    whole_window: bool = True

    def for_model(self, facts: Facts) -> "Allocation":
        """The same, with no more context than the model was trained for."""
        trained = _number(facts, "context_length")
        return Allocation(
            min(self.context, trained) if trained else self.context, self.slots, self.batch, self.whole_window
        )


def cache_bytes(facts: Facts, allocation: Allocation) -> int:
    """What the model keeps of the tokens it has read: keys and values, latent vectors, or a state of fixed size.

    A layer costs (KV heads · key size + KV heads · value size) · 2 bytes for each cell; with latent attention
    (kv_lora_rank + rope dimensions) · 2 bytes. An encoder keeps nothing.
    """
    if facts.get("causal") is False:
        return 0
    layers = _number(facts, "block_count")
    heads = _kv_heads(facts, layers)
    windowed = _windowed(facts, layers)
    total = 0
    for layer in _attention_layers(facts, layers, heads):
        cells = _cells(facts, allocation, windowed=windowed[layer])
        total += cells * _cell_bytes(facts, heads[layer], windowed=windowed[layer])
    return total + _state_bytes(facts, allocation, layers, heads)


def buffer_bytes(facts: Facts, allocation: Allocation) -> int:
    """What a step computes in, and the process around it.

    The compute buffer is reused from node to node, so it is as large as the largest of them: the scores of all
    heads against all cells with their mask, or the logits of a batch; and what flows beside them.
    """
    batch = allocation.batch
    cells = _padded(allocation.context)
    encodes = facts.get("causal") is False
    scores = batch * 4 * (batch if encodes else cells) * (_number(facts, "head_count") + 1)
    vocabulary = _number(facts, "vocab_size") or _number(facts, "tokenizer_size")
    logits = 0 if encodes else batch * vocabulary * 4
    beside = batch * 4 * (3 * _number(facts, "feed_forward_length") + 4 * _number(facts, "embedding_length"))
    return max(scores, logits) + beside + vocabulary * TOKEN_BYTES + PROCESS_BYTES


def _cell_bytes(facts: Facts, heads: int, *, windowed: bool) -> int:
    latent = _number(facts, "kv_lora_rank")
    if latent and _number(facts, "key_length_mla"):
        return (latent + _number(facts, "rope_dimension_count")) * CACHE_VALUE_BYTES
    usual = _number(facts, "embedding_length") // max(_number(facts, "head_count"), 1)
    key = _number(facts, "key_length") or usual
    value = _number(facts, "value_length") or usual
    if windowed:
        key, value = _number(facts, "key_length_swa") or key, _number(facts, "value_length_swa") or value
    return heads * (key + value) * CACHE_VALUE_BYTES


def _cells(facts: Facts, allocation: Allocation, *, windowed: bool) -> int:
    if not windowed or allocation.whole_window:
        return _padded(allocation.context)
    window = _number(facts, "sliding_window") * allocation.slots + allocation.batch
    return _padded(min(allocation.context, window))


def _kv_heads(facts: Facts, layers: int) -> list[int]:
    said = facts.get("head_count_kv")
    if isinstance(said, list | tuple):
        return [int(one) for one in said[:layers]] + [0] * (layers - len(said))
    return [_number(facts, "head_count_kv") or _number(facts, "head_count")] * layers


def _windowed(facts: Facts, layers: int) -> list[bool]:
    """Which layers look through a window; a pattern of n means that every n-th one does not."""
    if not _number(facts, "sliding_window"):
        return [False] * layers
    pattern = facts.get("sliding_window_pattern")
    if isinstance(pattern, list | tuple):
        return [bool(one) for one in pattern[:layers]] + [False] * (layers - len(pattern))
    every = _number(facts, "sliding_window_pattern")
    return [bool(every) and (layer + 1) % every != 0 for layer in range(layers)]


def _attention_layers(facts: Facts, layers: int, heads: list[int]) -> list[int]:
    """The layers that keep keys and values of their own."""
    with_heads = [layer for layer in range(layers - _number(facts, "shared_kv_layers")) if heads[layer]]
    if not facts.get("recurrent"):
        return with_heads
    interval = _number(facts, "full_attention_interval")
    if interval:
        return [layer for layer in with_heads if (layer + 1) % interval == 0]
    return with_heads if 0 in heads else []  # a list with zeros tells them apart; without one, none attends


def _state_bytes(facts: Facts, allocation: Allocation, layers: int, heads: list[int]) -> int:
    """The states of recurrent layers, one for each sequence: of constant size, however long the text."""
    if not facts.get("recurrent"):
        return 0
    count = layers - len(_attention_layers(facts, layers, heads))
    state, inner = _number(facts, "ssm_state_size"), _number(facts, "ssm_inner_size")
    shift = max(_number(facts, "ssm_conv_kernel") - 1, 0)
    values = shift * (inner + 2 * _number(facts, "ssm_group_count") * state) + state * inner
    values += _number(facts, "embedding_length") * _number(facts, "wkv_head_size")
    return count * values * STATE_VALUE_BYTES * allocation.slots


def _padded(cells: int) -> int:
    return -(-cells // CELLS_STEP) * CELLS_STEP


def _number(facts: Facts, name: str) -> int:
    value = facts.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
