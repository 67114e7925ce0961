"""A box of its own for a benchmark: the real processes, a scratch home, ports of its own."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
READY = re.compile(r"^ready in ", re.MULTILINE)
OFFSET = 13_000


@dataclass(frozen=True)
class Box:
    """A running box: where it keeps its state, its supervisor, seconds from start to ready."""

    home: Path
    process: subprocess.Popen[bytes]
    seconds: float

    @property
    def port(self) -> int:
        """The port of the pages."""
        return 8480 + OFFSET

    def manage(self, *arguments: str, stdin: str = "") -> str:
        """What `manage.py …` prints."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=ROOT, env=environment(self.home), input=stdin, text=True,
            check=True, capture_output=True,
        )  # fmt: skip
        return done.stdout.strip()

    def key(self) -> str:
        """An API key of a fresh operator."""
        self.manage("create_operator", "bench", "--password-file", "-", stdin="a-long-bench-password")
        return self.manage("apikey", "create", "bench", "--scope", "admin")

    def memory(self) -> dict[str, int]:
        """Bytes of memory (proportional set size) by process; the supervisor is `serve`."""
        root = psutil.Process(self.process.pid)
        sizes = {}
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):  # a check that ended meanwhile
                sizes[label(process, root)] = process.memory_full_info().pss
        return sizes


def label(process: psutil.Process, root: psutil.Process) -> str:
    """A short name of a process of the box."""
    if process.pid == root.pid:
        return "serve"
    words = process.cmdline()
    if any("inference.worker" in word for word in words):
        return "engine"
    if any("template_process" in word for word in words):
        return f"template {process.pid}"
    return f"service {process.pid}"


def environment(home: Path) -> dict[str, str]:
    """The environment of the box."""
    return {**os.environ, "SECAI_HOME": str(home), "SECAI_PORT_OFFSET": str(OFFSET), "NO_COLOR": "1"}


@contextlib.contextmanager
def running(home: Path | None = None, *, arguments: tuple[str, ...] = ()) -> Iterator[Box]:
    """Start a box and stop it at the end; without `home` in a scratch folder that goes with it."""
    scratch = None if home else Path(tempfile.mkdtemp(prefix="secai-bench-"))
    folder = home or scratch
    assert folder is not None
    log = folder / "serve.log"
    began = time.perf_counter()
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "serve", *arguments], cwd=ROOT, env=environment(folder), stdout=out,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        while not READY.search(log.read_text()):
            if process.poll() is not None or time.perf_counter() - began > 60:
                raise SystemExit(f"the box did not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.01)
        yield Box(folder, process, time.perf_counter() - began)
    finally:
        process.terminate()
        process.wait(timeout=20)
        if scratch:
            shutil.rmtree(scratch, ignore_errors=True)
