"""Landlock: which files, and which TCP ports, this process may still reach. No privilege needed.

Source: Linux `Documentation/userspace-api/landlock.rst`; system calls 444 to 446, the same on every
architecture. ABI 1 knows files, 2 renames across folders, 3 truncation, 4 TCP ports, 5 device ioctls, 6
abstract sockets and signals, 7 audit flags. What the kernel lacks is left out and reported, never an error.
"""

import ctypes
import errno
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from secai_site.kernel.sandbox.syscalls import syscall

CREATE_RULESET: Final = 444
ADD_RULE: Final = 445
RESTRICT_SELF: Final = 446
VERSION_FLAG: Final = 1
PATH_BENEATH: Final = 1
NET_PORT: Final = 2

EXECUTE: Final = 1 << 0
WRITE_FILE: Final = 1 << 1
READ_FILE: Final = 1 << 2
READ_DIR: Final = 1 << 3
REFER: Final = 1 << 13
TRUNCATE: Final = 1 << 14
IOCTL_DEV: Final = 1 << 15
ALL_OF_ABI: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}

READ: Final = READ_FILE | READ_DIR
# remove, make (but no character or block device), refer, truncate
WRITE: Final = READ | WRITE_FILE | REFER | TRUNCATE | (0x7F << 4 & ~(1 << 6)) | (1 << 12)
ON_A_FILE: Final = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV

BIND_TCP: Final = 1 << 0
CONNECT_TCP: Final = 1 << 1
SCOPE_ABSTRACT_SOCKET: Final = 1 << 0
SCOPE_SIGNAL: Final = 1 << 1


class _Ruleset(ctypes.Structure):
    _fields_ = [
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    ]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32)]


class _NetPort(ctypes.Structure):
    _fields_ = [("allowed_access", ctypes.c_uint64), ("port", ctypes.c_uint64)]


def abi() -> int:
    """The Landlock version of this kernel; 0 where it has none or it is switched off."""
    try:
        return syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(VERSION_FLAG))
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM):
            return 0
        raise


def restrict(
    *,
    read: Iterable[Path],
    write: Iterable[Path],
    execute: Iterable[Path] = (),
    connect_ports: Sequence[int] | None,
    bind_ports: Sequence[int] | None,
    version: int,
) -> list[str]:
    """Restrict this thread and all its later children for good; needs no_new_privs set before.

    Paths name a file or everything below a folder; one that does not exist is passed over and named in the
    answer, since nothing can be granted on it. Ports: `None` leaves them free, an empty list closes all.
    `version` is what `abi()` said and must be at least 1. Raises `OSError`.
    """
    handled = max(mask for level, mask in ALL_OF_ABI.items() if level <= version)
    ports = {CONNECT_TCP: connect_ports, BIND_TCP: bind_ports} if version >= 4 else {}
    net = sum(access for access, listed in ports.items() if listed is not None)
    ruleset = _create(handled, net, SCOPE_ABSTRACT_SOCKET | SCOPE_SIGNAL if version >= 6 else 0, version)
    try:
        grants = [(READ, read), (WRITE, write), (EXECUTE | READ, execute)]
        missing = [
            str(path)
            for access, paths in grants
            for path in paths
            if not _grant(ruleset, path, access & handled)
        ]
        for access, listed in ports.items():
            for port in listed or ():
                _grant_port(ruleset, port, access)
        syscall(RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)
    return missing


def _create(handled: int, net: int, scoped: int, version: int) -> int:
    attributes = _Ruleset(handled, net, scoped)
    size = 8 if version < 4 else 16 if version < 6 else 24
    return syscall(CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(size), ctypes.c_uint32(0))


def _grant(ruleset: int, path: Path, access: int) -> bool:
    """Allow `access` on the file, or below the folder; False when there is no such path."""
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            access &= ON_A_FILE
        rule = _PathBeneath(access, handle)
        _add(ruleset, PATH_BENEATH, rule)
    finally:
        os.close(handle)
    return True


def _grant_port(ruleset: int, port: int, access: int) -> None:
    _add(ruleset, NET_PORT, _NetPort(access, port))


def _add(ruleset: int, kind: int, rule: ctypes.Structure) -> None:
    syscall(ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(kind), ctypes.byref(rule), ctypes.c_uint32(0))
