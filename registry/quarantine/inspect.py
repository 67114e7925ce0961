"""Look into unknown files without trusting them: the work is done by a confined child process.

The child gets the open descriptors and their names in the set, and nothing else. What it answers is taken for no more
than a claim by a process that has met hostile bytes: size-capped, strictly parsed, and anything odd is `inconclusive`.
"""

import contextlib
import fcntl
import json
import os
import selectors
import signal
import stat
import subprocess  # noqa: TID251 - this module owns the child process
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from registry.quarantine.formats.members import Member
from registry.quarantine.inspection import Inspection, read_answer

__all__ = ["Inspection", "Member", "inspect_file", "inspect_files"]

ROOT: Final = Path(__file__).resolve().parents[2]
BOOT: Final = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from registry.quarantine.inspect_process import main; sys.exit(main(sys.argv[1:]))"
)
# The sandbox binds one thread, so no library may start others first; each arena of malloc reserves 64 MiB.
ENVIRONMENT: Final = {"OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
MAX_ANSWER: Final = 33 << 20
BASE_SECONDS: Final = 20.0
# Hashing twice at a tenth of what one core does; a disk of 50 MB/s still makes it.
BYTES_PER_SECOND: Final = 50_000_000
# How often the progress is reported where nothing is done: the report may cancel the inspection.
TICK_S: Final = 0.5

Progress = Callable[[float], None]


class _InconclusiveError(Exception):
    def __init__(self, reason: str, code: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


def inspect_file(fd: int, *, manifest: bool = True) -> Inspection:
    """Inspect a model in one file; its name does not matter."""
    return inspect_files([Member("", fd)], is_set=False, manifest=manifest)


def inspect_files(
    members: Sequence[Member],
    *,
    is_set: bool,
    manifest: bool = True,
    timeout: float | None = None,
    require_sandbox: bool = True,
    progress: Progress = lambda _share: None,
) -> Inspection:
    """Inspect regular files opened read-only; their positions stay. What is in the files never makes it raise.

    `is_set`: whether the paths count, else there is one file and its content decides alone. `manifest` reads all bytes
    (digests, rules, statistics), else only the headers. `timeout` in seconds (default: 20 and one more per 50 MB);
    without `require_sandbox` a machine that lacks Landlock or seccomp inspects all the same and says so in
    `sandbox_lacks`. `progress` gets the share that is done, at least twice a second; what it raises ends the child and
    goes on. Raises `ValueError` for a descriptor that can write: the child would inherit that.
    """
    before = [os.fstat(member.fd) for member in members]
    if not all(stat.S_ISREG(status.st_mode) for status in before):
        return Inspection("refuse", None, "This is not a regular file", "file.kind")
    if any(fcntl.fcntl(member.fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY for member in members):
        raise ValueError("open the file read-only before it is inspected")
    size = sum(status.st_size for status in before)
    seconds = timeout if timeout is not None else BASE_SECONDS + size / BYTES_PER_SECOND
    try:
        with _request(members, is_set=is_set, manifest=manifest) as request:
            raw = _run(_command(seconds, require_sandbox), request, members, seconds, progress)
        found = _answered(raw, manifest)
    except _InconclusiveError as error:
        return Inspection("inconclusive", None, error.reason, error.code)
    if any(_identity(os.fstat(one.fd)) != _identity(was) for one, was in zip(members, before, strict=True)):
        return Inspection(
            "inconclusive", None, "The file was changed while it was being inspected", "inspector.changed"
        )
    return found


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@contextlib.contextmanager
def _request(members: Sequence[Member], *, is_set: bool, manifest: bool) -> Iterator[int]:
    """A descriptor to read what is to be inspected from; in memory, so that no pipe can fill up."""
    asked = {
        "members": [[member.path, member.fd] for member in members], "is_set": is_set, "manifest": manifest
    }  # fmt: skip
    descriptor = os.memfd_create("inspection")
    try:
        os.write(descriptor, json.dumps(asked).encode())
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def _command(seconds: float, require_sandbox: bool) -> list[str]:
    """Isolated Python (no user site, no current folder) on this very source tree."""
    numbers = (os.getpid(), int(2 * seconds) + 2, int(require_sandbox))
    return [sys.executable, "-I", "-c", BOOT, str(ROOT), *map(str, numbers)]


def _run(
    command: list[str], request: int, members: Sequence[Member], seconds: float, progress: Progress
) -> bytes:
    """What the child wrote; raises `_InconclusiveError` when it did not end well and in time."""
    deadline = time.monotonic() + seconds
    try:
        child = subprocess.Popen(  # noqa: S603 - a fixed command, see `_command`
            command, stdin=request, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/", env=ENVIRONMENT,
            pass_fds=[member.fd for member in members],
        )  # fmt: skip
    except OSError as error:
        raise _InconclusiveError(
            f"The inspection could not be started: {error.strerror}", "inspector.start"
        ) from error
    try:
        answer = _collect(child, deadline, progress)
        status = child.wait(max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise _too_slow() from None
    finally:
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()
    if status == -signal.SIGXCPU:
        raise _too_slow()
    if status:
        raise _InconclusiveError("The inspection crashed on this file", "inspector.crash")
    return answer


def _collect(child: "subprocess.Popen[bytes]", deadline: float, progress: Progress) -> bytes:
    """Standard output to its end, at most `MAX_ANSWER` bytes, until `deadline` (monotonic seconds)."""
    if child.stdout is None:
        raise _InconclusiveError("The inspection has no way to answer", "inspector.start")
    answer = bytearray()
    with selectors.DefaultSelector() as ready:
        ready.register(child.stdout, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise _too_slow()
            if ready.select(min(left, TICK_S)):
                part = os.read(child.stdout.fileno(), 1 << 16)
                if not part:
                    return bytes(answer)
                answer += part
            if len(answer) > MAX_ANSWER:
                raise _InconclusiveError("The inspection answered far too much", "inspector.answer")
            progress(_share(answer))


def _share(answer: bytearray) -> float:
    """How far the child is: it writes a dot for each per cent."""
    head = answer[:101]
    return min(100, len(head) - len(head.lstrip(b"."))) / 100


def _too_slow() -> _InconclusiveError:
    return _InconclusiveError("The inspection took too long and was stopped", "inspector.time")


def _answered(raw: bytes, manifest: bool) -> Inspection:
    try:
        return read_answer(raw[:101].lstrip(b".") + raw[101:], manifest=manifest)
    except ValueError as error:
        raise _InconclusiveError(
            "The inspection gave an answer that makes no sense", "inspector.answer"
        ) from error
