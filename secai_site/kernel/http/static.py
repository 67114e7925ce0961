"""The version of the static files, for their address."""

import hashlib
from pathlib import Path


def static_version(*folders: Path) -> str:
    """Ten hex digits that change whenever a file below `folders` does (by name, size or time of change)."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            facts = path.stat()
            digest.update(f"{path.relative_to(folder)}:{facts.st_size}:{facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:10]
