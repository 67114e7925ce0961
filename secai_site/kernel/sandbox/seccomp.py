"""seccomp: system calls that this process never needs answer EPERM; sockets are limited by kind.

A deny list for a service (Python, SQLite and a model engine use too many calls for a stable allow list),
with an allow list inside it for sockets, since that is what Landlock leaves open: UDP, raw, netlink, vsock,
and MPTCP and TCP Fast Open, both of which connect past Landlock's port rules.
"""

import errno
import socket
from typing import Any, Final, Literal

from secai_site.kernel.sandbox.syscalls import prctl

try:
    import pyseccomp
except (ImportError, RuntimeError):  # not installed, or the system has no libseccomp
    pyseccomp = None

Network = Literal["none", "unix", "tcp", "inet"]

DENIED: Final[tuple[str, ...]] = (
    # reading or steering other processes
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp", "pidfd_getfd",
    # mounts, roots, namespaces
    "mount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "fsopen", "fsconfig", "fsmount",
    "fspick", "mount_setattr", "unshare", "setns",
    # kernel surface
    "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register",
    "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "add_key",
    "request_key", "keyctl", "syslog", "lookup_dcookie", "vmsplice", "fanotify_init", "quotactl",
    "quotactl_fd", "name_to_handle_at", "open_by_handle_at", "modify_ldt",
    # the machine
    "reboot", "swapon", "swapoff", "acct", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex",
    "sethostname", "setdomainname", "iopl", "ioperm", "personality", "nfsservctl", "vhangup", "mknod",
    "mknodat",
)  # fmt: skip

PR_GET_SECCOMP: Final = 21
CLONE_THREAD: Final = 0x0001_0000
# NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
CLONE_NAMESPACES: Final = (
    0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000,
)  # fmt: skip
MSG_FASTOPEN: Final = 0x2000_0000
SOCK_TYPE_MASK: Final = 0xF
LARGEST_INET_FAMILY: Final = int(socket.AF_INET6)
INET: Final = (int(socket.AF_INET), int(socket.AF_INET6))


def available() -> bool:
    """Whether the library is here and this kernel takes filters. Opens no file: also right when confined."""
    if pyseccomp is None:
        return False
    try:
        prctl(PR_GET_SECCOMP)
    except OSError:
        return False
    return True


def restrict(*, network: Network, processes: bool, programs: bool, listens: bool) -> list[str]:
    """Load the filter on this thread and its later children, for good; answer which calls it does not know.

    `network`: `none` no socket at all but `socketpair`; `unix` AF_UNIX only; `tcp` AF_UNIX and TCP streams;
    `inet` AF_UNIX, TCP and UDP. `processes=False` forbids fork (threads stay), `programs=False` execve,
    `listens=False` listening (an unbound socket that listens gets a free port past Landlock).
    Raises `OSError`.
    """
    rules = _Filter()
    for name in DENIED:
        rules.deny(name)
    _namespaces(rules)
    if not processes:
        _no_processes(rules)
    if not programs:
        rules.deny("execve")
        rules.deny("execveat")
    if not listens:
        rules.deny("listen", code=errno.EACCES)
    _sockets(rules, network)
    rules.load()
    return rules.unknown


class _Filter:
    """All is allowed but what is denied; a call of another architecture ends the process."""

    def __init__(self) -> None:
        self.unknown: list[str] = []
        self._filter: Any = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
        self._filter.set_attr(pyseccomp.Attr.ACT_BADARCH, pyseccomp.KILL_PROCESS)

    def deny(self, name: str, *conditions: Any, code: int = errno.EPERM) -> None:
        number = pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)
        if number < 0:
            self.unknown.append(name)
            return
        self._filter.add_rule(pyseccomp.ERRNO(code), number, *conditions)

    def load(self) -> None:
        self._filter.load()


def _equals(argument: int, value: int) -> Any:
    return pyseccomp.Arg(argument, pyseccomp.EQ, value)


def _above(argument: int, value: int) -> Any:
    return pyseccomp.Arg(argument, pyseccomp.GT, value)


def _has(argument: int, mask: int, value: int) -> Any:
    return pyseccomp.Arg(argument, pyseccomp.MASKED_EQ, mask, value)


def _namespaces(rules: _Filter) -> None:
    """No new namespaces; clone3 hides its flags behind a pointer: the C library falls back to clone."""
    rules.deny("clone3", code=errno.ENOSYS)
    for flag in CLONE_NAMESPACES:
        rules.deny("clone", _has(0, flag, flag))


def _no_processes(rules: _Filter) -> None:
    rules.deny("fork")
    rules.deny("vfork")
    rules.deny("clone", _has(0, CLONE_THREAD, 0))


def _sockets(rules: _Filter, network: Network) -> None:
    """Allow by family, type and protocol. Arguments are compared in 64 bits: junk above an int is denied."""
    families = {
        "none": (),
        "unix": (int(socket.AF_UNIX),),
        "tcp": (int(socket.AF_UNIX), *INET),
        "inet": (int(socket.AF_UNIX), *INET),
    }[network]
    for call in ("socket", "socketpair"):
        rules.deny(call, _above(0, LARGEST_INET_FAMILY), code=errno.EACCES)
        for family in range(LARGEST_INET_FAMILY + 1):
            if family not in families and not (call == "socketpair" and family == socket.AF_UNIX):
                rules.deny(call, _equals(0, family), code=errno.EACCES)
    if network in ("tcp", "inet"):
        _inet_kinds(rules, network)
        _no_fast_open(rules)


def _inet_kinds(rules: _Filter, network: Network) -> None:
    """Streams only as TCP (0, 6: no MPTCP, no SCTP), datagrams only for `inet` and as UDP (0, 17)."""
    protocols = {int(socket.SOCK_STREAM): (0, int(socket.IPPROTO_TCP))}
    if network == "inet":
        protocols[int(socket.SOCK_DGRAM)] = (0, int(socket.IPPROTO_UDP))
    for family in INET:
        for kind in range(SOCK_TYPE_MASK + 1):
            of_kind = (_equals(0, family), _has(1, SOCK_TYPE_MASK, kind))
            if kind not in protocols:
                rules.deny("socket", *of_kind, code=errno.EACCES)
                continue
            last = max(protocols[kind])
            rules.deny("socket", *of_kind, _above(2, last), code=errno.EACCES)
            for protocol in range(1, last):
                rules.deny("socket", *of_kind, _equals(2, protocol), code=errno.EACCES)


def _no_fast_open(rules: _Filter) -> None:
    """MSG_FASTOPEN connects inside a send, where Landlock does not look."""
    for call, argument in (("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)):
        rules.deny(call, _has(argument, MSG_FASTOPEN, MSG_FASTOPEN))
