"""Look into an unknown file without trusting it: the work is done by a confined child process.

The child gets the open descriptor and nothing else. What it answers is taken for no more than a claim by a
process that has met hostile bytes: size-capped, strictly parsed, and anything odd is `inconclusive`.
"""

import fcntl
import json
import os
import selectors
import signal
import stat
import subprocess  # noqa: TID251 - this module owns the child process
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from registry.quarantine.formats.manifest import SHA256, Manifest

Verdict = Literal["pass", "refuse", "inconclusive"]

ROOT: Final = Path(__file__).resolve().parents[2]
BOOT: Final = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from registry.quarantine.inspect_process import main; sys.exit(main(sys.argv[1:]))"
)
MAX_ANSWER: Final = 33 << 20
BASE_SECONDS: Final = 20.0
# Hashing twice at a tenth of what one core does; a disk of 50 MB/s still makes it.
BYTES_PER_SECOND: Final = 50_000_000
FIELDS: Final = {
    "verdict", "format", "reason", "code", "offset", "facts", "fingerprint", "manifest", "sandbox_lacks",
}  # fmt: skip


@dataclass(frozen=True)
class Inspection:
    """What the inspection came to. Only `verdict == "pass"` is a pass; `inconclusive` is a refusal too.

    `format`: `gguf`, `safetensors` or `None`; `reason`: a sentence; `code`: stable; `offset`: byte of the
    trouble or `None`; `facts`: what the header says (see `inspect_process.facts`), strings raw and not to be
    trusted in a page; `fingerprint`: hex SHA-256 of the structure; `manifest`: digests, when asked for;
    `sandbox_lacks`: parts of the sandbox that this machine does not have.
    """

    verdict: Verdict
    format: str | None
    reason: str
    code: str
    offset: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    fingerprint: str | None = None
    manifest: Manifest | None = None
    sandbox_lacks: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the file may go on to the next stage."""
        return self.verdict == "pass"


class _InconclusiveError(Exception):
    def __init__(self, reason: str, code: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


def inspect_file(
    fd: int, *, timeout: float | None = None, manifest: bool = True, require_sandbox: bool = True
) -> Inspection:
    """Inspect the regular file behind `fd`, opened read-only; its position stays. What is in the
    file never makes it raise.

    `timeout` in seconds (default: 20 and one more per 50 MB); `manifest` hashes every tensor and the file;
    without `require_sandbox` a machine that lacks Landlock or seccomp inspects all the same and says so in
    `sandbox_lacks`. Raises `ValueError` for a descriptor that can write: the child would inherit that.
    """
    before = os.fstat(fd)
    if not stat.S_ISREG(before.st_mode):
        return Inspection("refuse", None, "This is not a regular file", "file.kind")
    if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY:
        raise ValueError("open the file read-only before it is inspected")
    seconds = timeout if timeout is not None else BASE_SECONDS + before.st_size / BYTES_PER_SECOND
    try:
        raw = _run(_command(seconds, manifest, require_sandbox), fd, seconds)
        found = _parsed(raw, manifest)
    except _InconclusiveError as error:
        return Inspection("inconclusive", None, error.reason, error.code)
    if _identity(os.fstat(fd)) != _identity(before):
        return Inspection(
            "inconclusive", None, "The file was changed while it was being inspected", "inspector.changed"
        )
    return found


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _command(seconds: float, manifest: bool, require_sandbox: bool) -> list[str]:
    """Isolated Python (no user site, no environment, no current folder) on this very source tree."""
    numbers = (os.getpid(), int(2 * seconds) + 2, int(require_sandbox), int(manifest))
    return [sys.executable, "-I", "-c", BOOT, str(ROOT), *map(str, numbers)]


def _run(command: list[str], fd: int, seconds: float) -> bytes:
    """What the child wrote; raises `_InconclusiveError` when it did not end well and in time."""
    deadline = time.monotonic() + seconds
    try:
        child = subprocess.Popen(  # noqa: S603 - a fixed command, see `_command`
            command, stdin=fd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/", env={}
        )
    except OSError as error:
        raise _InconclusiveError(
            f"The inspection could not be started: {error.strerror}", "inspector.start"
        ) from error
    try:
        answer = _collect(child, deadline)
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


def _collect(child: "subprocess.Popen[bytes]", deadline: float) -> bytes:
    """Standard output to its end, at most `MAX_ANSWER` bytes, until `deadline` (monotonic seconds)."""
    if child.stdout is None:
        raise _InconclusiveError("The inspection has no way to answer", "inspector.start")
    parts: list[bytes] = []
    room = MAX_ANSWER
    with selectors.DefaultSelector() as ready:
        ready.register(child.stdout, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not ready.select(left):
                raise _too_slow()
            part = os.read(child.stdout.fileno(), 1 << 16)
            if not part:
                return b"".join(parts)
            parts.append(part)
            room -= len(part)
            if room < 0:
                raise _InconclusiveError("The inspection answered far too much", "inspector.answer")


def _too_slow() -> _InconclusiveError:
    return _InconclusiveError("The inspection took too long and was stopped", "inspector.time")


def _parsed(raw: bytes, manifest: bool) -> Inspection:
    """The child's answer as an `Inspection`, if it is exactly of the agreed shape."""
    try:
        data = json.loads(raw, object_pairs_hook=_unique, parse_constant=_refuse_constant)
        return _inspection(data, manifest)
    except (ValueError, RecursionError) as error:
        raise _InconclusiveError(
            "The inspection gave an answer that makes no sense", "inspector.answer"
        ) from error


def _inspection(data: object, manifest: bool) -> Inspection:
    if not isinstance(data, dict) or set(data) != FIELDS:
        raise ValueError("fields")
    verdict = data["verdict"]
    if verdict not in ("pass", "refuse", "inconclusive") or data["format"] not in (
        None,
        "gguf",
        "safetensors",
    ):
        raise ValueError("verdict or format")
    if not isinstance(data["facts"], dict) or not _texts([data["reason"], data["code"]]):
        raise ValueError("facts, reason or code")
    if data["offset"] is not None and type(data["offset"]) is not int:
        raise ValueError("offset")
    if not isinstance(data["sandbox_lacks"], list) or not _texts(data["sandbox_lacks"]):
        raise ValueError("sandbox_lacks")
    passed = verdict == "pass"
    if passed and not (data["format"] and data["facts"]):
        raise ValueError("a pass without format or facts")
    return Inspection(
        verdict=verdict,
        format=data["format"],
        reason=data["reason"],
        code=data["code"],
        offset=data["offset"],
        facts=data["facts"],
        fingerprint=_fingerprint(data["fingerprint"], passed),
        manifest=Manifest.from_json(data["manifest"]) if passed and manifest else None,
        sandbox_lacks=tuple(data["sandbox_lacks"]),
    )


def _texts(values: list[object]) -> bool:
    return all(isinstance(value, str) and len(value) < 4_096 for value in values)


def _fingerprint(value: object, passed: bool) -> str | None:
    if not passed:
        return None
    if not isinstance(value, str) or not SHA256.fullmatch(value):
        raise ValueError("fingerprint")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate key")
    return found


def _refuse_constant(said: str) -> None:
    raise ValueError(said)
