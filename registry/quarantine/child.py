"""A child process that does one dangerous thing: started, read up to a limit, and gone afterwards, whatever it does.

The child confines itself before it looks at anything (see each `*_process` module). What it wrote is a claim by a
process that has met hostile bytes.
"""

import contextlib
import os
import selectors
import signal
import subprocess  # noqa: TID251 - this module owns the child process
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

ROOT: Final = Path(__file__).resolve().parents[2]
BOOT: Final = (
    "import sys; from importlib import import_module; sys.path.insert(0, sys.argv.pop(1)); "
    "sys.exit(import_module(sys.argv.pop(1)).main(sys.argv[1:]))"
)
PART: Final = 1 << 16

End = Literal["well", "late", "crashed", "flooded", "unstarted"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """`output`: what the child wrote until its end; `end`: how it ended, anything but "well" by force or fault."""

    output: bytes
    end: End


def python_child(module: str, *arguments: str) -> list[str]:
    """The command for `main(arguments)` of a module of ours: isolated Python on this very source tree.

    The first argument that `main` gets is the pid of this process, for `die_with_parent`.
    """
    return [sys.executable, "-I", "-c", BOOT, str(ROOT), module, str(os.getpid()), *arguments]


def run_child(command: list[str], *, stdin: int, seconds: float, most: int) -> Outcome:
    """Run `command` with `stdin` and without an environment for at most `seconds`; at most `most` bytes of output.

    It has a session of its own, which is killed as a whole in the end. Never raises for what the child does.
    """
    deadline = time.monotonic() + seconds
    try:
        child = subprocess.Popen(  # noqa: S603 - the callers' commands are fixed or the operator's
            command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/", env={},
            start_new_session=True,
        )  # fmt: skip
    except OSError:
        return Outcome(b"", "unstarted")
    output = bytearray()
    try:
        end = _collect(child, output, deadline, most)
        if end == "well" and _status(child, deadline) is None:
            end = "late"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        if child.stdout is not None:
            child.stdout.close()
    return Outcome(bytes(output), _by_status(end, child.returncode))


def _collect(child: "subprocess.Popen[bytes]", output: bytearray, deadline: float, most: int) -> End:
    """Fill `output` until the child closes its end."""
    assert child.stdout is not None
    with selectors.DefaultSelector() as ready:
        ready.register(child.stdout, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not ready.select(left):
                return "late"
            part = os.read(child.stdout.fileno(), PART)
            if not part:
                return "well"
            output += part
            if len(output) > most:
                return "flooded"


def _status(child: "subprocess.Popen[bytes]", deadline: float) -> int | None:
    try:
        return child.wait(max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return None


def _by_status(end: End, status: int) -> End:
    """A child that used up its processor time is late too; any other fault of its own is a crash."""
    if end != "well" or status == 0:
        return end
    return "late" if status in (-signal.SIGXCPU, -signal.SIGKILL) else "crashed"
