"""One sandbox for one process: a profile says what it may reach, `apply` closes the rest for good.

Call it in a process with one thread, before it serves: Landlock and seccomp bind the calling thread and what
it starts later. Safe in a freshly forked child (no import, no lock of another thread is needed).
"""

import os
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from secai_site.kernel.sandbox import landlock, seccomp
from secai_site.kernel.sandbox.limits import (
    Limits,
    apply_limits,
    die_with_parent,
    forbid_new_privileges,
    hide_memory,
)

PORTS_ABI = 4
SCOPE_ABI = 6


class SandboxUnavailableError(OSError):
    """The profile is required and this kernel cannot hold it; the message names what is missing."""


@dataclass(frozen=True)
class Profile:
    """What a process may still do.

    `read`, `write`, `execute`: files, or folders with all below them (`write` includes reading, `execute`
    reading; loading a library needs only `read`). `connect_ports`, `bind_ports`: TCP ports, `None` for any;
    they mean ports on every address; with no port to bind a `tcp` or `inet` process may not listen at all,
    not even on a local socket. `network`: see `seccomp.restrict`. `required`: refuse to go on when the
    kernel lacks a part. `parent`: pid whose end ends this process.
    """

    name: str
    read: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()
    execute: tuple[Path, ...] = ()
    connect_ports: tuple[int, ...] | None = ()
    bind_ports: tuple[int, ...] | None = ()
    network: seccomp.Network = "none"
    processes: bool = True
    programs: bool = False
    limits: Limits = field(default_factory=Limits)
    hidden_memory: bool = True
    required: bool = True
    parent: int | None = None


@dataclass(frozen=True)
class Applied:
    """What came of it, in sentences for the security page: `enforced`, and what this machine `lacks`."""

    profile: str
    enforced: tuple[str, ...]
    lacks: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether everything that the profile asks for is in force."""
        return not self.lacks


def apply(profile: Profile) -> Applied:
    """Confine this process for good.

    Raises `SandboxUnavailableError` before anything is changed when `profile.required` and a part is missing,
    `OSError` when the kernel refuses a part it should have.
    """
    lacks = missing_for(profile)
    if lacks and profile.required:
        raise SandboxUnavailableError(f"The sandbox “{profile.name}” cannot be closed: {'; '.join(lacks)}")
    if profile.parent is not None:
        die_with_parent(profile.parent)
    enforced = ["no new privileges", *apply_limits(profile.limits)]
    forbid_new_privileges()
    if profile.hidden_memory:
        hide_memory()
        enforced.append("memory hidden from other processes")
    enforced += _files_and_ports(profile)
    enforced += _system_calls(profile)
    return Applied(profile.name, tuple(enforced), tuple(lacks))


def missing_for(profile: Profile) -> list[str]:
    """What this process and kernel lack for `profile`, in words."""
    abi = landlock.abi()
    lacks = []
    if abi == 0:
        lacks.append("the kernel has no Landlock: files outside the profile stay reachable")
    closes_ports = profile.connect_ports is not None or profile.bind_ports is not None
    if abi < PORTS_ABI and closes_ports and profile.network in ("tcp", "inet"):
        lacks.append("the kernel's Landlock has no port rules: TCP may go to any port")
    if not seccomp.available():
        lacks.append("seccomp or its library is missing: UDP, raw sockets and rare system calls stay open")
    threads = _threads()
    if threads > 1:
        lacks.append(f"the process already has {threads} threads, of which only one would be confined")
    return lacks


def support() -> dict[str, Any]:
    """What this machine offers, for `doctor`: kernel, Landlock version and parts, seccomp."""
    abi = landlock.abi()
    return {
        "kernel": platform.release(),
        "landlock_abi": abi,
        "landlock_files": abi >= 1,
        "landlock_ports": abi >= PORTS_ABI,
        "landlock_scopes": abi >= SCOPE_ABI,
        "seccomp": seccomp.available(),
        "residual": [
            "port rules hold for every address, not for one",
            "a process that may bind one port may also listen on a random free one",
            "sockets of other programs that lie in a readable folder can be connected to",
        ],
    }


def _files_and_ports(profile: Profile) -> list[str]:
    abi = landlock.abi()
    if abi == 0:
        return []
    absent = landlock.restrict(
        read=profile.read,
        write=profile.write,
        execute=profile.execute,
        connect_ports=profile.connect_ports,
        bind_ports=profile.bind_ports,
        version=abi,
    )
    words = [f"files: {len(profile.read)} places to read, {len(profile.write)} to write, no other"]
    if abi >= PORTS_ABI:
        words.append(f"TCP connect: {_ports(profile.connect_ports)}; bind: {_ports(profile.bind_ports)}")
    if abi >= SCOPE_ABI:
        words.append("no abstract sockets of and no signals to processes outside")
    return words + [f"not there, so not granted: {path}" for path in absent]


def _ports(ports: tuple[int, ...] | None) -> str:
    if ports is None:
        return "any port"
    return "ports " + ", ".join(map(str, ports)) if ports else "no port"


def _system_calls(profile: Profile) -> list[str]:
    if not seccomp.available():
        return []
    seccomp.restrict(
        network=profile.network,
        processes=profile.processes,
        programs=profile.programs,
        listens=profile.network == "unix" or profile.bind_ports != (),
    )
    words = {
        "none": "no sockets",
        "unix": "only local sockets",
        "tcp": "only local and TCP sockets",
        "inet": "only local, TCP and UDP sockets",
    }
    denied = [words[profile.network], "rare and dangerous system calls denied"]
    denied += [] if profile.programs else ["no other programs started"]
    return denied + ([] if profile.processes else ["no other processes started"])


def _threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1
