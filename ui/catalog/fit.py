"""Will it fit? An estimate of the memory a model needs, against what is free now."""

from typing import Any

from django.conf import settings

from registry.contract import ModelRecord

# Compute buffers and the process itself, on top of weights and KV cache.
OVERHEAD_BYTES = 200 * 1024 * 1024
KV_BYTES = 2  # half precision
TIGHT = 0.8


def fit_of(model: ModelRecord) -> dict[str, Any] | None:
    """`{"verdict": "fits"|"tight"|"no", "needed_bytes", "free_bytes"}`, or None when it cannot be told."""
    if model["format"] != "gguf":
        return None
    needed = model["size_bytes"] + kv_cache_bytes(model["facts"]) + OVERHEAD_BYTES
    free = available_bytes()
    verdict = "no" if needed > free else "tight" if needed > TIGHT * free else "fits"
    return {"verdict": verdict, "needed_bytes": needed, "free_bytes": free}


def kv_cache_bytes(facts: dict[str, Any]) -> int:
    """2 (keys and values) · layers · KV heads · head size · bytes · context tokens."""
    heads = int(facts.get("head_count") or 0)
    if not heads:
        return 0
    head_size = int(facts.get("embedding_length") or 0) // heads
    kv_heads = int(facts.get("head_count_kv") or heads)
    return 2 * int(facts.get("block_count") or 0) * kv_heads * head_size * KV_BYTES * settings.ENGINE_CONTEXT


def available_bytes() -> int:
    """Memory that can be had without swapping (MemAvailable of the kernel)."""
    with open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0
