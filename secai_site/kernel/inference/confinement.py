"""What the worker of a private engine may still reach: the files of its model, and its own program.

It is closed before llama.cpp is loaded, so whatever a hostile model makes of the process can open nothing else,
write nothing, make no socket beside the one it serves, and start no program but the Python that renders
templates. The graphics card is not among it: a model in quarantine computes on the processor.
"""

import json
import os
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Final

from secai_site.kernel.sandbox import Applied, Profile, apply

KERNEL: Final = Path(__file__).resolve().parents[1]
PYTHON_PATHS: Final = ("stdlib", "platstdlib", "purelib", "platlib")
LIBRARIES: Final = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo")
SYSTEM: Final = ("/etc/ld.so.cache", "/etc/localtime", "/proc/self", "/sys/devices/system", "/dev/urandom")
LIBRARY_VARIABLES: Final = ("LD_LIBRARY_PATH", "LLAMA_CPP_LIB_PATH")


class ConfinementError(Exception):
    """The worker could not be confined, and was told not to go on without; the message says why."""


def profile(models_root: Path, *, required: bool) -> Profile:
    """Read below `models_root` and what Python and its libraries are made of; `required`: refuse to do with less.

    The worker must have its socket already, as it makes no other; it ends when its parent does.
    """
    own = [Path(sysconfig.get_path(name)) for name in PYTHON_PATHS]
    given = [
        Path(folder) for name in LIBRARY_VARIABLES for folder in os.environ.get(name, "").split(":") if folder
    ]
    base = [Path(sys.base_prefix) / "lib", Path(sys.prefix) / "pyvenv.cfg", KERNEL]
    return Profile(
        name="private engine",
        read=_existing([models_root, *own, *given, *base, *map(Path, LIBRARIES), *map(Path, SYSTEM)]),
        write=(Path(os.devnull),),
        execute=_existing([Path(sys.executable).resolve(), *_loaders()]),
        network="none",
        bind_ports=None,  # there is no socket to bind; this leaves it `listen` for the one that it has
        programs=True,
        required=required,
        parent=os.getppid(),
    )


def confine(models_root: Path, *, required: bool) -> bool:
    """Confine this process for good and say on standard output what came of it, in one line for `read_report`.

    False: it was `required` and the machine lacks a part, or the kernel refused; the process should end then.
    """
    try:
        report = asdict(apply(profile(models_root, required=required)))
    except OSError as error:
        report = {"refused": str(error)}
    os.write(sys.stdout.fileno(), json.dumps(report).encode() + b"\n")
    return "refused" not in report


def read_report(line: bytes) -> Applied:
    """What a worker said of its confinement; raises `ConfinementError` when it has none."""
    try:
        report = json.loads(line)
        if "refused" in report:
            raise ConfinementError(str(report["refused"]))
        return Applied(str(report["profile"]), tuple(report["enforced"]), tuple(report["lacks"]))
    except (ValueError, KeyError, TypeError):
        raise ConfinementError("the worker did not say how it is confined") from None


def _loaders() -> set[Path]:
    """The dynamic loader, which the kernel starts with every program, as this process has it mapped."""
    lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    mapped = {Path(line.split(maxsplit=5)[5]) for line in lines if line.count("/")}
    return {path for path in mapped if path.name.startswith("ld-")}


def _existing(paths: Iterable[Path]) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(path for path in paths if path.exists()))
