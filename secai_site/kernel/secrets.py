"""Keys of this box: made at the first start, one file each, readable by their owner alone."""

import os
import secrets as random
import stat
from pathlib import Path

from secai_site.kernel.env import ConfigurationError

KEY_BYTES = 48


def read_or_create(path: Path, *, first_start: bool) -> str:
    """Return the key in `path`; on the very first start make it, later a missing key is an error.

    A box that lost its key must not quietly get another one: every session, seal and audit record of the
    old key would turn invalid without a word.
    """
    try:
        return read(path)
    except FileNotFoundError:
        if not first_start:
            raise ConfigurationError(
                f"{path} is missing, yet this box has been used before. Restore it from a backup."
            ) from None
    return create(path)


def read(path: Path) -> str:
    """Return the key in `path`; refuse a link, and a file that others may read."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, encoding="ascii") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise ConfigurationError(f"{path} may be read by others (mode {mode:o}); run: chmod 600 {path}")
        value = file.read().strip()
    if len(value) < KEY_BYTES:
        raise ConfigurationError(f"{path} holds no usable key; restore it from a backup")
    return value


def create(path: Path) -> str:
    """Make a fresh key in `path`, which appears whole or not at all; a racing first start wins quietly."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    value = random.token_urlsafe(KEY_BYTES)
    draft = path.with_name(f".{path.name}.{random.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(value)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        return read(path)
    finally:
        draft.unlink()
    return value
