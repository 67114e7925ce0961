"""The child process that looks into an unknown file. It gets one descriptor and can reach nothing else.

Started by `registry.quarantine.inspect`; standard input is the file, standard output takes one JSON object.
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from registry.quarantine.formats.detect import NotAModel, detect
from registry.quarantine.formats.errors import FormatError
from registry.quarantine.formats.gguf import GgufFile, read_gguf
from registry.quarantine.formats.gguf_facts import TEMPLATE
from registry.quarantine.formats.gguf_values import ArraySummary, LongText, Value
from registry.quarantine.formats.manifest import ModelFile, fingerprint, tensor_manifest
from registry.quarantine.formats.safetensors import SafetensorsFile, read_safetensors
from secai_site.kernel.sandbox import Limits, Profile, SandboxUnavailableError, apply

FILE: Final = 0
ANSWER: Final = 1
MAX_ANSWER: Final = 32 << 20
MEMORY: Final = 512 << 20

Answer = dict[str, Any]


def main(arguments: list[str]) -> int:
    """Confine this process, inspect standard input, write the answer.

    `arguments`: parent pid, processor seconds, whether the sandbox is required, whether to hash the tensors
    (0 or 1 each).
    """
    parent, cpu_s, required, manifest = map(int, arguments)
    try:
        applied = apply(profile(parent, cpu_s, required=bool(required)))
        answer = examine(FILE, os.fstat(FILE).st_size, manifest=bool(manifest))
        answer["sandbox_lacks"] = list(applied.lacks)
    except SandboxUnavailableError as error:
        answer = inconclusive(str(error), "inspector.sandbox")
    except MemoryError:
        answer = inconclusive("The inspection needed more memory than it may have", "inspector.memory")
    except Exception as error:  # whatever a hostile file provokes is an answer, and never a pass
        answer = inconclusive(f"The inspection failed ({type(error).__name__})", "inspector.failed")
    _write(answer)
    return 0


def profile(parent: int, cpu_s: int, *, required: bool) -> Profile:
    """No path, no port, no socket, no other process; writing to any file is off."""
    return Profile(
        name="inspector",
        network="none",
        processes=False,
        programs=False,
        limits=Limits(cpu_s=cpu_s, memory=MEMORY, file_size=0, open_files=16),
        required=required,
        parent=parent,
    )


def examine(fd: int, size: int, *, manifest: bool) -> Answer:
    """Detect, validate, fingerprint; the answer as a dict that is plain JSON."""
    detected = detect(fd, size)
    if isinstance(detected, NotAModel):
        return refused(None, detected.reason, detected.code, detected.offset)
    try:
        model = read_gguf(fd, size) if detected.kind == "gguf" else read_safetensors(fd, size)
        digests = tensor_manifest(fd, model).to_json() if manifest else None
    except FormatError as error:
        return refused(detected.kind, error.reason, error.code, error.offset)
    return {
        "verdict": "pass",
        "format": model.format,
        "reason": f"A well-formed {model.format} file",
        "code": "inspector.pass",
        "offset": None,
        "facts": facts(model),
        "fingerprint": fingerprint(model),
        "manifest": digests,
    }


def facts(model: ModelFile) -> dict[str, Any]:
    """What the header says, for the catalogue."""
    common = {
        "parameters": model.parameters,
        "tensor_count": len(model.tensors),
        "tensor_types": dict(Counter(tensor.type for tensor in model.tensors)),
        "data_offset": model.data_offset,
    }
    return common | (_gguf_facts(model) if isinstance(model, GgufFile) else _safetensors_facts(model))


def _gguf_facts(model: GgufFile) -> dict[str, Any]:
    return asdict(model.facts) | {
        "version": model.version,
        "alignment": model.alignment,
        "metadata": _plain(model.metadata),
    }


def _safetensors_facts(model: SafetensorsFile) -> dict[str, Any]:
    return {"quantization": model.dtype, "metadata": dict(model.metadata)}


def _plain(metadata: Mapping[str, Value]) -> dict[str, Any]:
    """The metadata as JSON, without the chat templates, which the facts have."""
    summaries = (ArraySummary, LongText)
    return {
        key: asdict(value) if isinstance(value, summaries) else value
        for key, value in metadata.items()
        if not key.startswith(TEMPLATE)
    }


def refused(kind: str | None, reason: str, code: str, offset: int | None) -> Answer:
    """The answer for a file that is not acceptable."""
    return _without_facts("refuse", kind, reason, code) | {"offset": offset}


def inconclusive(reason: str, code: str) -> Answer:
    """The answer where the inspection came to no end; callers treat it as a refusal."""
    return _without_facts("inconclusive", None, reason, code)


def _without_facts(verdict: str, kind: str | None, reason: str, code: str) -> Answer:
    return {
        "verdict": verdict,
        "format": kind,
        "reason": reason,
        "code": code,
        "offset": None,
        "facts": {},
        "fingerprint": None,
        "manifest": None,
        "sandbox_lacks": [],
    }


def _write(answer: Answer) -> None:
    raw = _encoded(answer)
    if len(raw) > MAX_ANSWER:
        raw = _encoded(inconclusive("The header holds too much text to report", "inspector.answer"))
    with open(ANSWER, "wb", closefd=False) as out:
        out.write(raw)


def _encoded(answer: Answer) -> bytes:
    return json.dumps(answer, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
