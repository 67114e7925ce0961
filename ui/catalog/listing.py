"""The models page's list: registry and quarantine in one, with what is in memory and what would fit."""

from typing import Any

from asgiref.sync import async_to_sync

from registry.contract import ModelRecord, QuarantineRecord, Registry
from secai_site.kernel import ports
from secai_site.kernel.inference.errors import EngineDown
from secai_site.kernel.inference.protocol import Engine, EngineStatus
from ui.catalog.fit import fit_of


def engine_status() -> EngineStatus | None:
    """What the engine does now; None when it is down."""
    try:
        return async_to_sync(ports.get(Engine).status)()
    except EngineDown:
        return None


def all_models() -> list[dict[str, Any]]:
    """Promoted models by name, then files in quarantine, newest first."""
    registry = ports.get(Registry)
    status = engine_status()
    loaded = status.model if status else None
    promoted = [_promoted(model, loaded) for model in registry.models()]
    return promoted + [_quarantined(item) for item in registry.quarantine()]


def _promoted(model: ModelRecord, loaded: str | None) -> dict[str, Any]:
    reason = None
    if model["status"] == "failed":
        reason = "Its file is not the one that was promoted any more, so it was taken out of use."
    return {
        **{name: model[name] for name in SHOWN},  # type: ignore[literal-required]
        "id": None, "loaded": model["name"] == loaded, "fit": fit_of(model), "reason": reason, "progress": None,
        "stages": model["scan"],
    }  # fmt: skip


SHOWN = (
    "name", "status", "format", "source", "sha256", "size_bytes", "architecture", "quantization", "parameters",
    "context_length", "license", "promoted_at", "chat", "gguf_guard_fingerprint", "gguf_guard_manifest",
)  # fmt: skip


def _quarantined(item: QuarantineRecord) -> dict[str, Any]:
    gate = next((stage for stage in item["stages"] if stage["name"] == "format_gate"), None)
    facts = gate["evidence"].get("facts", {}) if gate else {}
    known = ("architecture", "quantization", "parameters", "context_length", "license")
    return {
        "name": item["name"], "status": item["status"], "id": item["id"],
        "format": gate["evidence"].get("format") if gate else None, "source": item["source"],
        "sha256": item["sha256"], "size_bytes": item["size_bytes"], **{name: facts.get(name) for name in known},
        "promoted_at": None, "chat": False, "loaded": False, "fit": None, "reason": item["reason"] or None,
        "progress": item["progress"], "stages": item["stages"],
    }  # fmt: skip
