"""Which graphics processor this machine has, from what the kernel shows; no vendor tool is needed."""

from pathlib import Path
from typing import Any

NVIDIA = Path("/proc/driver/nvidia/gpus")
DRM = Path("/sys/class/drm")
AMD_VENDOR = "0x1002"


def detect_gpu() -> dict[str, Any]:
    """`{"detected", "type": "nvidia"|"amd"|None, "name", "vram_mb"}`; unknown values are None."""
    return _nvidia() or _amd() or {"detected": False, "type": None, "name": None, "vram_mb": None}


def _nvidia() -> dict[str, Any] | None:
    for information in sorted(NVIDIA.glob("*/information")) if NVIDIA.is_dir() else []:
        lines = _read(information).splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        return {
            "detected": True,
            "type": "nvidia",
            "name": fields.get("Model", "").strip() or None,
            "vram_mb": None,
        }
    return None


def _amd() -> dict[str, Any] | None:
    for card in sorted(DRM.glob("card?/device")) if DRM.is_dir() else []:
        if _read(card / "vendor").strip() != AMD_VENDOR:
            continue
        total = _read(card / "mem_info_vram_total").strip()
        name = _read(card / "product_name").strip() or None
        return {
            "detected": True, "type": "amd", "name": name,
            "vram_mb": int(total) // 2**20 if total.isdecimal() else None,
        }  # fmt: skip
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
