"""What an inspection came to, and the strict reading of what the confined child claims."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from registry.quarantine.formats.manifest import SHA256, Manifest
from registry.quarantine.rules import Match

Verdict = Literal["pass", "refuse", "inconclusive"]

FORMATS: Final = ("gguf", "safetensors", "diffusion")
FIELDS: Final = {
    "verdict", "format", "reason", "code", "offset", "file", "facts", "fingerprint", "manifest", "matches",
    "statistics", "sandbox_lacks",
}  # fmt: skip
MAX_MATCHES: Final = 10_000
MAX_TEXT: Final = 4_096


@dataclass(frozen=True)
class Inspection:
    """What the inspection came to. Only `verdict == "pass"` is a pass; `inconclusive` is a refusal too.

    `format`: `gguf`, `safetensors`, `diffusion` or `None`; `reason`: a sentence; `code`: stable; `offset`: byte of the
    trouble or `None`, in `file` where it is a set. `facts`: what the headers say of the whole model (see
    `formats.model`), strings raw and not to be trusted in a page; `fingerprint`: hex SHA-256 of the structure;
    `manifest`: digests, `matches`: rules that matched (the static scan refuses on them), `statistics`: see
    `formats.statistics`, all three only where the whole files were read; `sandbox_lacks`: parts of the sandbox that
    this machine does not have.
    """

    verdict: Verdict
    format: str | None
    reason: str
    code: str
    offset: int | None = None
    file: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    fingerprint: str | None = None
    manifest: Manifest | None = None
    matches: tuple[Match, ...] = ()
    statistics: Mapping[str, Any] = field(default_factory=dict)
    sandbox_lacks: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the files may go on to the next stage."""
        return self.verdict == "pass"


def read_answer(raw: bytes, *, manifest: bool) -> Inspection:
    """The child's answer as an `Inspection`, if it is exactly of the agreed shape; else `ValueError`.

    `manifest`: whether a pass must come with one.
    """
    try:
        data = json.loads(raw, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("depth") from None
    if not isinstance(data, dict) or set(data) != FIELDS:
        raise ValueError("fields")
    _check(data)
    passed = data["verdict"] == "pass"
    return Inspection(
        verdict=data["verdict"],
        format=data["format"],
        reason=data["reason"],
        code=data["code"],
        offset=data["offset"],
        file=data["file"],
        facts=data["facts"],
        fingerprint=_fingerprint(data["fingerprint"], passed),
        manifest=Manifest.from_json(data["manifest"]) if passed and manifest else None,
        matches=tuple(_match(one) for one in data["matches"]),
        statistics=data["statistics"],
        sandbox_lacks=tuple(data["sandbox_lacks"]),
    )


def _check(data: Mapping[str, Any]) -> None:
    """Types and ranges of the plain fields; raises `ValueError`."""
    if data["verdict"] not in ("pass", "refuse", "inconclusive") or data["format"] not in (None, *FORMATS):
        raise ValueError("verdict or format")
    if {type(data["facts"]), type(data["statistics"])} != {dict}:
        raise ValueError("facts or statistics")
    if data["offset"] is not None and type(data["offset"]) is not int:
        raise ValueError("offset")
    lists = (data["sandbox_lacks"], data["matches"])
    if not all(isinstance(one, list) and len(one) <= MAX_MATCHES for one in lists):
        raise ValueError("sandbox_lacks or matches")
    texts = [data["reason"], data["code"], *data["sandbox_lacks"]]
    texts += [data["file"]] if data["file"] is not None else []
    if not all(isinstance(text, str) and len(text) < MAX_TEXT for text in texts):
        raise ValueError("a text")
    if data["verdict"] == "pass" and not (data["format"] and data["facts"]):
        raise ValueError("a pass without format or facts")


def _fingerprint(value: object, passed: bool) -> str | None:
    if not passed:
        return None
    if not isinstance(value, str) or not SHA256.fullmatch(value):
        raise ValueError("fingerprint")
    return value


def _match(value: object) -> Match:
    match value:
        case {"rule": str(rule), "meaning": str(meaning), "file": str(file), "offset": int(offset), **rest}:
            if not rest and all(len(text) < MAX_TEXT for text in (rule, meaning, file)):
                return Match(rule, meaning, file, int(offset))
    raise ValueError("a match")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate key")
    return found


def _refuse_constant(said: str) -> None:
    raise ValueError(said)
