"""Will it fit? The memory that a model needs, against what is free or would be once another one is unloaded."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from registry.contract import ModelRecord, QuarantineRecord
from secai_site.kernel.inference.protocol import EngineStatus, LoadedModel
from ui.catalog.calibration import Calibration, calibration, remember_load
from ui.catalog.memory import Allocation, Facts, buffer_bytes, cache_bytes

TIGHT = 0.8

Fit = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Need:
    """An estimate in bytes, by parts, for `context` tokens."""

    weights: int
    cache: int
    buffers: int
    context: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.cache + self.buffers


class Scales:
    """Weighs models against the memory of this moment.

    An answer is `{"verdict": "fits"|"tight"|"no", "needed_bytes", "free_bytes", "weights_bytes", "cache_bytes",
    "buffers_bytes", "basis"}`. `basis`: "measured" when exactly this model was loaded here before with the same
    context; "calibrated" when other loads corrected the estimate; "estimated"; "size" when nothing but the size is
    known.
    """

    def __init__(self, models: Iterable[ModelRecord], status: EngineStatus | None) -> None:
        self._known: Calibration = calibration()
        self.free = available_bytes() + self._unloadable(models, status.model if status else None)

    def model(self, model: ModelRecord) -> Fit | None:
        """Whether a promoted model fits; None for one that this engine does not run."""
        if model["format"] != "gguf":
            return None
        return self._weigh(need_of(model["facts"], model["size_bytes"]), model["sha256"], "estimated")

    def item(self, item: QuarantineRecord) -> Fit | None:
        """Whether a file in quarantine will fit; None as long as its format is not known to be one that runs."""
        found = next((stage["evidence"] for stage in item["stages"] if stage["name"] == "format_gate"), {})
        if found.get("format") != "gguf" or not isinstance(found.get("facts"), dict):
            return None
        return self._weigh(need_of(found["facts"], item["size_bytes"]), item["sha256"], "estimated")

    def size(self, size_bytes: int) -> Fit:
        """Whether a file of this size may fit: weights and buffers, for the cache is not known yet."""
        return self._weigh(need_of({}, size_bytes), "", "size")

    def _weigh(self, need: Need, sha256: str, basis: str) -> Fit:
        needed, ratio = need.total, self._known.ratio
        measured = self._known.measured.get((sha256, need.context))
        if measured is not None:
            needed, basis = measured, "measured"
        elif ratio is not None and basis == "estimated":
            needed, basis = round(needed * ratio), "calibrated"
        verdict = "no" if needed > self.free else "tight" if needed > TIGHT * self.free else "fits"
        return {
            "verdict": verdict, "needed_bytes": needed, "free_bytes": self.free, "weights_bytes": need.weights,
            "cache_bytes": need.cache, "buffers_bytes": need.buffers, "basis": basis,
        }  # fmt: skip

    def _unloadable(self, models: Iterable[ModelRecord], loaded: str | None) -> int:
        """What unloading gives back beside the weights, which are mapped and counted as available anyway."""
        model = next((one for one in models if one["name"] == loaded and one["format"] == "gguf"), None)
        if model is None:
            return 0
        need = need_of(model["facts"], model["size_bytes"])
        total = self._known.measured.get((model["sha256"], need.context), need.total)
        return max(0, total - need.weights)


def need_of(facts: Facts, size_bytes: int, context: int | None = None) -> Need:
    """The estimate for a GGUF file with these facts, as this box's engine would load it."""
    asked = Allocation(context or settings.ENGINE_CONTEXT, settings.ENGINE_SLOTS)
    given = asked.for_model(facts)
    return Need(size_bytes, cache_bytes(facts, given), buffer_bytes(facts, given), given.context)


def note_load(model: ModelRecord, loaded: LoadedModel) -> None:
    """Remember what a load took, so that the next estimates are better."""
    if model["format"] != "gguf" or loaded.memory_bytes <= 0:
        return
    need = need_of(model["facts"], model["size_bytes"], loaded.context_length)
    remember_load(
        sha256=model["sha256"], context=loaded.context_length, estimate=need.total, measured=loaded.memory_bytes
    )  # fmt: skip


def available_bytes() -> int:
    """Memory that can be had without swapping (MemAvailable of the kernel)."""
    with open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0
