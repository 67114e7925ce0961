"""What a process may use up, and what it leaves behind: rlimits, no new privileges, no core dumps."""

import os
import resource
import signal
from dataclasses import dataclass
from typing import Final

from secai_site.kernel.sandbox.syscalls import prctl

PR_SET_PDEATHSIG: Final = 1
PR_GET_DUMPABLE: Final = 3
PR_SET_DUMPABLE: Final = 4
PR_SET_NO_NEW_PRIVS: Final = 38
PR_GET_NO_NEW_PRIVS: Final = 39


@dataclass(frozen=True, slots=True)
class Limits:
    """Hard limits, `None` where the present one stays.

    `cpu_s` processor seconds; `memory` bytes of address space; `file_size` bytes of any one file written (0
    forbids writing to files altogether, pipes and sockets are not meant); `open_files` descriptors;
    `processes` of this user in all (root is not bound by it).
    """

    cpu_s: int | None = None
    memory: int | None = None
    file_size: int | None = None
    open_files: int | None = None
    processes: int | None = None


def apply_limits(limits: Limits) -> list[str]:
    """Lower the limits, soft and hard, never above what they are; core dumps are always off.

    Answers in words what is in force.
    """
    table = (
        (resource.RLIMIT_CPU, limits.cpu_s, "processor time {:,} s"),
        (resource.RLIMIT_AS, limits.memory, "memory {:,} bytes"),
        (resource.RLIMIT_FSIZE, limits.file_size, "written files {:,} bytes"),
        (resource.RLIMIT_NOFILE, limits.open_files, "open files {:,}"),
        (resource.RLIMIT_NPROC, limits.processes, "processes {:,}"),
        (resource.RLIMIT_CORE, 0, "no core dumps"),
    )
    words = []
    for which, wanted, text in table:
        if wanted is None:
            continue
        _, hard = resource.getrlimit(which)
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(which, (value, value))
        words.append(text.format(value))
    return words


def forbid_new_privileges() -> None:
    """No setuid program lifts this process or its children again; Landlock and seccomp need it."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def hide_memory() -> None:
    """Not dumpable: no core, and no other process of this user may attach or read /proc/PID/mem."""
    prctl(PR_SET_DUMPABLE, 0)


def die_with_parent(parent: int, number: int = signal.SIGKILL) -> None:
    """End this process by signal `number` when the parent's thread that started it ends.

    At once if `parent` is gone already.
    """
    prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os._exit(1)
