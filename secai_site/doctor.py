"""What is missing or weak on this host, as facts with advice."""

import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from django.conf import settings
from django.core.checks import run_checks

from secai_site.kernel import sandbox
from secai_site.listeners import LISTENERS
from secai_site.ports import port_is_free

SPACE_WARNING_BYTES = 5 * 1024**3


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact: `state` is good, weak (works, could be better) or bad (will not work)."""

    state: Literal["good", "weak", "bad"]
    what: str
    advice: str = ""


def examine() -> Iterator[Finding]:
    """All findings, in the order a person would look."""
    yield from _settings()
    yield from _home()
    yield from _ports()
    yield from _kernel()
    yield from _database()


def _settings() -> Iterator[Finding]:
    messages = run_checks(tags=["secai"])
    for message in messages:
        yield Finding(
            "bad" if message.is_serious() else "weak", f"{message.id}: {message.msg}", message.hint or ""
        )
    if not messages:
        yield Finding("good", "settings")


def _home() -> Iterator[Finding]:
    usage = shutil.disk_usage(settings.SECAI_HOME)
    gigabytes = usage.free / 1024**3
    if usage.free < SPACE_WARNING_BYTES:
        yield Finding("weak", f"only {gigabytes:.1f} GB free for models", "Make room, or move SECAI_HOME.")
    else:
        yield Finding("good", f"{gigabytes:.0f} GB free for models")
    for path in (settings.SECAI_HOME / "secrets").glob("*"):
        if stat.S_IMODE(os.stat(path).st_mode) & 0o077:
            yield Finding("bad", f"{path} may be read by others", f"chmod 600 {path}")


def _ports() -> Iterator[Finding]:
    busy = [
        f"{listener.port + settings.PORT_OFFSET} ({listener.name})"
        for listener in LISTENERS.values()
        if not port_is_free(listener.port + settings.PORT_OFFSET)
    ]
    if busy:
        yield Finding(
            "weak",
            f"ports in use: {', '.join(busy)}",
            "Fine while this box runs; else set SECAI_PORT_OFFSET.",
        )
    else:
        yield Finding("good", "all ports are free")


def _kernel() -> Iterator[Finding]:
    offered = sandbox.support()
    for name in ("landlock_files", "landlock_ports", "landlock_scopes", "seccomp"):
        if offered[name]:
            yield Finding("good", f"the kernel offers {name.replace('_', ' ')}")
        else:
            advice = "The confinement of processes is weaker without it; Linux 6.12 or newer has all of it."
            yield Finding("weak", f"the kernel lacks {name.replace('_', ' ')}", advice)


def _database() -> Iterator[Finding]:
    engine = settings.DATABASES["default"]["ENGINE"].rpartition(".")[2]
    if engine == "sqlite3":
        yield Finding("good", f"SQLite {sqlite3.sqlite_version}")
    else:
        yield Finding("good", engine)
