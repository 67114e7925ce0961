"""The sandbox from inside: every test confines a fresh child process and asks it what it can still do."""

import errno
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from secai_site.kernel import sandbox
from secai_site.kernel.sandbox import Limits, Profile, SandboxUnavailableError, landlock, profile, seccomp

ROOT = Path(__file__).resolve().parents[3]
DENIED = {errno.EACCES, errno.EPERM}

PRELUDE = """
import sys; sys.path.insert(0, {root!r})
import encodings.idna, errno, json, os, resource, signal, socket, threading
from pathlib import Path
from secai_site.kernel.sandbox import Limits, Profile, apply
found = {{}}
def attempt(name, what):
    try:
        result = what()
        found[name] = result if isinstance(result, (int, str, list)) else 0
    except OSError as error:
        found[name] = -error.errno
AF_UNIX, AF_INET, AF_INET6, STREAM, DGRAM = (
    socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.SOCK_STREAM, socket.SOCK_DGRAM)
"""

pytestmark = pytest.mark.skipif(
    landlock.abi() < 4 or not seccomp.available(), reason="this kernel lacks Landlock port rules or seccomp"
)


def inside(body: str, **values: Any) -> dict[str, Any]:
    """Run `body` in a new process; a negative answer is an errno."""
    code = PRELUDE.format(root=str(ROOT)) + body.format(**values) + "\nprint(json.dumps(found))"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def denied(answer: int) -> bool:
    return -answer in DENIED


@pytest.fixture
def ports() -> Iterator[tuple[int, int]]:
    """Two listening TCP ports on 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        yield one.getsockname()[1], two.getsockname()[1]


def test_only_listed_folders_can_be_read_or_written(tmp_path: Path) -> None:
    for name in ("readable", "writable", "secret"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    found = inside(
        """
base = Path({base!r})
apply(Profile("t", read=(base / "readable",), write=(base / "writable",)))
attempt("read", lambda: (base / "readable/file").read_text())
attempt("write there", lambda: (base / "readable/file").write_text("x"))
attempt("create there", lambda: (base / "readable/new").write_text("x"))
attempt("read secret", lambda: (base / "secret/file").read_text())
attempt("list secret", lambda: os.listdir(base / "secret"))
attempt("around", lambda: (base / "readable/../secret/file").read_text())
attempt("passwd", lambda: Path("/etc/passwd").read_text())
attempt("write", lambda: (base / "writable/new").write_text("xyz"))
attempt("rename", lambda: os.rename(base / "writable/new", base / "writable/newer"))
attempt("truncate", lambda: os.truncate(base / "writable/newer", 1))
attempt("folder", lambda: os.mkdir(base / "writable/sub"))
attempt("move", lambda: os.rename(base / "writable/newer", base / "writable/sub/newer"))
attempt("remove", lambda: os.remove(base / "writable/sub/newer"))
attempt("truncate secret", lambda: os.truncate(base / "secret/file", 0))
attempt("remove secret", lambda: os.remove(base / "secret/file"))
attempt("link", lambda: os.symlink(base / "secret/file", base / "writable/link"))
attempt("through link", lambda: (base / "writable/link").read_text())
attempt("device", lambda: os.mknod(base / "writable/null", 0o20666, os.makedev(1, 3)))
""",
        base=str(tmp_path),
    )
    assert found["read"] == "readable"
    assert all(
        found[name] >= 0 for name in ("write", "rename", "truncate", "folder", "move", "remove", "link")
    )
    others = set(found) - {"read", "write", "rename", "truncate", "folder", "move", "remove", "link"}
    assert all(denied(found[name]) for name in others), found
    assert (tmp_path / "secret" / "file").read_text() == "secret"


def test_a_single_file_can_be_listed(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    found = inside(
        """
applied = apply(Profile("t", read=(Path({base!r}, "a"), Path({base!r}, "absent"))))
attempt("a", lambda: Path({base!r}, "a").read_text())
attempt("b", lambda: Path({base!r}, "b").read_text())
found["absent"] = [word for word in applied.enforced if "absent" in word]
""",
        base=str(tmp_path),
    )
    assert found["a"] == "a"
    assert denied(found["b"])
    assert found["absent"] == [f"not there, so not granted: {tmp_path / 'absent'}"]


def test_tcp_reaches_only_listed_ports(ports: tuple[int, int]) -> None:
    found = inside(
        """
apply(Profile("t", network="tcp", connect_ports=({yes},), bind_ports=()))
attempt("listed", lambda: socket.socket().connect(("127.0.0.1", {yes})))
attempt("other", lambda: socket.socket().connect(("127.0.0.1", {no})))
attempt("other in six", lambda: socket.socket(AF_INET6).connect(("::ffff:127.0.0.1", {no})))
attempt("in a send", lambda: socket.socket().sendto(b"x", 0x20000000, ("127.0.0.1", {no})))
attempt("in a message", lambda: socket.socket().sendmsg([b"x"], [], 0x20000000, ("127.0.0.1", {no})))
attempt("mptcp", lambda: socket.socket(AF_INET, STREAM, 262))
attempt("sctp", lambda: socket.socket(AF_INET, STREAM, 132))
attempt("udp", lambda: socket.socket(AF_INET, DGRAM))
attempt("udp in six", lambda: socket.socket(AF_INET6, DGRAM | socket.SOCK_CLOEXEC))
attempt("raw", lambda: socket.socket(AF_INET, socket.SOCK_RAW, 1))
attempt("packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
attempt("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
attempt("vsock", lambda: socket.socket(socket.AF_VSOCK, STREAM))
attempt("crypto", lambda: socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET))
attempt("bind", lambda: socket.socket().bind(("127.0.0.1", 0)))
attempt("listen unbound", lambda: socket.socket().listen())
attempt("unix", lambda: socket.socket(AF_UNIX))
attempt("pair", lambda: socket.socketpair())
""",
        yes=ports[0],
        no=ports[1],
    )
    open_ones = {"listed", "unix", "pair"}
    assert all(found[name] == 0 for name in open_ones), found
    assert all(denied(found[name]) for name in set(found) - open_ones), found


def test_a_listener_binds_only_its_port() -> None:
    with socket.socket() as free, socket.socket() as other:
        free.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        mine, foreign = free.getsockname()[1], other.getsockname()[1]
    found = inside(
        """
apply(Profile("t", network="tcp", bind_ports=({mine},)))
def served():
    server = socket.create_server(("127.0.0.1", {mine}))
    server.close()
attempt("mine", served)
attempt("foreign", lambda: socket.create_server(("127.0.0.1", {foreign})))
attempt("connect", lambda: socket.socket().connect(("127.0.0.1", {mine})))
""",
        mine=mine,
        foreign=foreign,
    )
    assert found["mine"] == 0
    assert denied(found["foreign"])
    assert denied(found["connect"])


def test_a_local_socket_works_where_its_folder_is_granted(tmp_path: Path) -> None:
    found = inside(
        """
path = {base!r} + "/peer.sock"
apply(Profile("t", network="unix", write=(Path({base!r}),)))
def talk():
    server = socket.socket(AF_UNIX); server.bind(path); server.listen()
    client = socket.socket(AF_UNIX); client.connect(path); client.send(b"hi")
    return server.accept()[0].recv(2).decode()
attempt("talk", talk)
attempt("tcp", lambda: socket.socket())
attempt("elsewhere", lambda: socket.socket(AF_UNIX).bind("/tmp/elsewhere-%d.sock" % os.getpid()))
""",
        base=str(tmp_path),
    )
    assert found["talk"] == "hi"
    assert denied(found["tcp"])
    assert denied(found["elsewhere"])


def test_an_abstract_socket_outside_is_out_of_reach() -> None:
    if landlock.abi() < profile.SCOPE_ABI:
        pytest.skip("this kernel has no Landlock scopes")
    name = f"secai-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0" + name)
        server.listen()
        found = inside(
            """
apply(Profile("t", network="unix"))
attempt("abstract", lambda: socket.socket(AF_UNIX).connect("\\0" + {name!r}))
attempt("signal", lambda: os.kill(os.getppid(), 0))
""",
            name=name,
        )
    assert denied(found["abstract"])
    assert denied(found["signal"])


def test_no_network_at_all_and_udp_only_where_asked(ports: tuple[int, int]) -> None:
    kinds = """
attempt("unix", lambda: socket.socket(AF_UNIX))
attempt("tcp", lambda: socket.socket())
attempt("udp", lambda: socket.socket(AF_INET, DGRAM))
attempt("raw", lambda: socket.socket(AF_INET, socket.SOCK_RAW, 1))
attempt("any port", lambda: socket.socket().connect(("127.0.0.1", {port})))
"""
    none = inside('apply(Profile("t", network="none"))' + kinds, port=ports[0])
    assert all(map(denied, none.values()))
    free = inside('apply(Profile("t", network="inet", connect_ports=None))' + kinds, port=ports[0])
    assert denied(free.pop("raw"))
    assert set(free.values()) == {0}


def test_dangerous_system_calls_answer_eperm() -> None:
    found = inside(
        """
from secai_site.kernel.sandbox.syscalls import syscall
import ctypes
apply(Profile("t"))
calls = dict(ptrace=101, mount=165, bpf=321, kexec_load=246, init_module=175, perf_event_open=298,
             userfaultfd=323, io_uring_setup=425, unshare=272, setns=308, keyctl=250, reboot=169,
             process_vm_readv=310, open_by_handle_at=304, personality=135, clone3=435)
for name, number in calls.items():
    attempt(name, lambda number=number: syscall(number, 0, 0, 0, 0, 0))
attempt("user namespace", lambda: syscall(56, ctypes.c_long(0x10000011), 0, 0, 0, 0))
attempt("run", lambda: os.execv("/bin/true", ["true"]))
"""
    )
    if os.uname().machine != "x86_64":
        pytest.skip("the numbers are those of x86-64")
    assert found.pop("clone3") == -errno.ENOSYS
    assert {name for name, code in found.items() if code != -errno.EPERM} == set()


def test_threads_live_and_processes_do_not_where_forbidden() -> None:
    found = inside(
        """
apply(Profile("t", processes=False))
def thread():
    done = []
    worker = threading.Thread(target=done.append, args=(1,)); worker.start(); worker.join()
    return done
attempt("thread", thread)
attempt("fork", os.fork)
"""
    )
    assert found["thread"] == [1]
    assert denied(found["fork"])


def test_limits_are_lowered_and_memory_is_hidden() -> None:
    found = inside(
        """
from secai_site.kernel.sandbox.syscalls import prctl
apply(Profile("t", limits=Limits(cpu_s=9, memory=1 << 30, file_size=0, open_files=20)))
for name in ("CPU", "AS", "FSIZE", "NOFILE", "CORE"):
    found[name] = list(resource.getrlimit(getattr(resource, "RLIMIT_" + name)))
found["dumpable"] = prctl(3)
found["no_new_privs"] = prctl(39)
"""
    )
    assert found == {
        "CPU": [9, 9],
        "AS": [1 << 30, 1 << 30],
        "FSIZE": [0, 0],
        "NOFILE": [20, 20],
        "CORE": [0, 0],
        "dumpable": 0,
        "no_new_privs": 1,
    }


def test_it_can_be_applied_in_a_forked_child_and_leaves_the_parent_free() -> None:
    found = inside(
        """
pid = os.fork()
if pid == 0:
    apply(Profile("t", required=True))
    attempt("child", lambda: open("/etc/passwd").read())
    os._exit(-found["child"])
found["child"] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
attempt("parent", lambda: len(open("/etc/passwd").read()))
"""
    )
    assert found["child"] == errno.EACCES
    assert found["parent"] > 0


def test_a_process_with_threads_is_not_taken_for_confined() -> None:
    found = inside(
        """
stop = threading.Event()
threading.Thread(target=stop.wait, daemon=True).start()
try:
    apply(Profile("t"))
except OSError as error:
    found["said"] = str(error)
attempt("still free", lambda: len(open("/etc/passwd").read()))
stop.set()
"""
    )
    assert "already has 2 threads" in found["said"]
    assert found["still free"] > 0


def test_a_missing_feature_is_named_and_required_ones_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    monkeypatch.setattr(seccomp, "available", lambda: False)
    lacks = profile.missing_for(Profile("t", network="tcp"))
    assert [word.split(":")[0] for word in lacks[:3]] == [
        "the kernel has no Landlock",
        "the kernel's Landlock has no port rules",
        "seccomp or its library is missing",
    ]
    with pytest.raises(SandboxUnavailableError, match="no Landlock"):
        sandbox.apply(Profile("t"))


def test_support_says_what_this_machine_offers() -> None:
    found = sandbox.support()
    assert found["landlock_abi"] == landlock.abi()
    assert found["seccomp"] is True
    assert all(isinstance(words, str) for words in found["residual"])


def test_a_profile_denies_by_default() -> None:
    bare = Profile("t")
    assert (bare.read, bare.write, bare.connect_ports, bare.bind_ports) == ((), (), (), ())
    assert (bare.network, bare.programs, bare.required, bare.limits) == ("none", False, True, Limits())
