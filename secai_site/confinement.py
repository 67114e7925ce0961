"""What each process of the box may reach, enforced by the kernel before it serves.

No process of this version may open a connection to the outside: a listener may listen on its own port and talk
to its peers' Unix sockets, a worker has no network at all. What came of it is written down as a fact for the
security page; on a kernel that lacks a part the box still runs, and says which part.
"""

import os
import sys
import tempfile
from collections.abc import Iterable
from glob import glob
from pathlib import Path

from django.conf import settings

from secai_site.kernel.sandbox import Applied, Profile, apply, facts
from secai_site.listeners import LISTENERS
from secai_site.locks import hold

SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc", "/proc", "/sys", "/run/postgresql", "/opt")
DEVICES = ("/dev/null", "/dev/urandom", "/dev/random", "/dev/zero")
GPU_DEVICES = ("/dev/nvidia*", "/dev/dri", "/dev/kfd")


def profile_of(names: Iterable[str]) -> Profile:
    """The profile of a process that runs the named listeners, or one worker."""
    names = list(names)
    label = "+".join(names)
    python = (sys.prefix, sys.base_prefix, Path(os.path.realpath(sys.executable)).parent)
    readable = _existing(SYSTEM, *python, settings.BASE_DIR)
    home = _existing([settings.SECAI_HOME])
    devices = _existing(DEVICES)
    if names == ["engine"]:
        gpu = tuple(Path(path) for pattern in GPU_DEVICES for path in glob(pattern))
        read = (*readable, *_existing([settings.MODELS_DIR]))
        write = (*_existing([settings.RUN_DIR]), *devices, *gpu)
        return Profile(label, read, write, readable, network="unix", programs=True, required=False)
    if names == ["jobs"]:
        return Profile(
            label, readable, (*home, *devices), readable, connect_ports=database_ports(),
            network="tcp" if database_ports() else "unix", programs=True, required=False,
        )  # fmt: skip
    ports = tuple(LISTENERS[name].port + settings.PORT_OFFSET for name in names)
    return Profile(
        label, readable, (*home, *devices), connect_ports=database_ports(), bind_ports=ports, network="tcp",
        required=False,
    )  # fmt: skip


def confine(*names: str) -> Applied:
    """Claim the names, confine this process for good and write down what came of it."""
    for name in names:
        hold(name)
    # the only place for temporary files that it can still reach, and none that other users share
    tempfile.tempdir = os.environ["TMPDIR"] = str(settings.SECAI_HOME / "tmp")
    applied = apply(profile_of(names))
    facts.write(Path(settings.RUN_DIR), applied)
    return applied


def database_ports() -> tuple[int, ...]:
    """The TCP port of a database server elsewhere; none for SQLite or a local socket."""
    database = settings.DATABASES["default"]
    host = str(database.get("HOST") or "")
    if "sqlite3" in database["ENGINE"] or not host or host.startswith("/"):
        return ()
    return (int(database.get("PORT") or 5432),)


def _existing(paths: Iterable[str | Path], *more: str | Path) -> tuple[Path, ...]:
    return tuple(Path(path) for path in (*paths, *more) if Path(path).exists())
