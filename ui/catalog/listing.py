"""The models page's list: registry, quarantine and downloads in one, with what is in memory and what would fit."""

from typing import Any

from asgiref.sync import async_to_sync

from registry.contract import ModelRecord, QuarantineRecord, Registry
from secai_site.kernel import ports
from secai_site.kernel.inference.errors import EngineDown
from secai_site.kernel.inference.protocol import Engine, EngineStatus
from ui.catalog.fit import Scales
from ui.catalog.selectors import LISTED_AS, open_downloads

SHOWN = (
    "name", "status", "format", "source", "sha256", "size_bytes", "architecture", "quantization", "parameters",
    "context_length", "license", "promoted_at", "purpose", "chat", "gguf_guard_fingerprint", "gguf_guard_manifest",
    "facts",
)  # fmt: skip
FACTS = ("architecture", "quantization", "parameters", "context_length", "license")


def engine_status() -> EngineStatus | None:
    """What the engine does now; None when it is down."""
    try:
        return async_to_sync(ports.get(Engine).status)()
    except EngineDown:
        return None


def all_models() -> list[dict[str, Any]]:
    """Promoted models by name, then downloads and then files in quarantine, newest first."""
    registry = ports.get(Registry)
    models, status = registry.models(), engine_status()
    scales = Scales(models, status)
    loaded = status.model if status else None
    return [
        *(_promoted(model, loaded, scales) for model in models),
        *(_awaited(download) for download in open_downloads()),
        *(_quarantined(item, scales) for item in registry.quarantine()),
    ]


def _promoted(model: ModelRecord, loaded: str | None, scales: Scales) -> dict[str, Any]:
    reason = None
    if model["status"] == "failed":
        reason = "Its file is not the one that was promoted any more, so it was taken out of use."
    return {
        **{name: model[name] for name in SHOWN},  # type: ignore[literal-required]
        "id": None, "loaded": model["name"] == loaded, "fit": scales.model(model), "reason": reason,
        "progress": None, "stages": model["scan"], "download": None,
    }  # fmt: skip


def _quarantined(item: QuarantineRecord, scales: Scales) -> dict[str, Any]:
    evidence = {stage["name"]: stage["evidence"] for stage in item["stages"]}
    gate = evidence.get("format_gate", {})
    facts = gate.get("facts", {})
    return {
        "name": item["name"], "status": item["status"], "id": item["id"], "format": gate.get("format"),
        "source": item["source"], "sha256": item["sha256"], "size_bytes": item["size_bytes"],
        **{name: facts.get(name) for name in FACTS}, "promoted_at": None,
        "purpose": evidence.get("static_scan", {}).get("purpose"), "chat": False, "loaded": False,
        "fit": scales.item(item), "reason": item["reason"] or None, "progress": item["progress"],
        "stages": item["stages"], "download": None,
    }  # fmt: skip


def _awaited(download: dict[str, Any]) -> dict[str, Any]:
    """A model that is still outside; what nobody can know before it is here is None."""
    return {
        "name": download["name"], "status": LISTED_AS[download["status"]], "id": None, "format": None,
        "source": download["url"], "sha256": download["sha256"], "size_bytes": download["size_bytes"],
        **dict.fromkeys(FACTS), "promoted_at": None, "purpose": None, "chat": False, "loaded": False, "fit": None,
        "reason": download["reason"], "progress": None, "stages": [], "download": download,
    }  # fmt: skip
