"""A box of its own: the real processes in a scratch home, on ports of its own, ended in any case."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from secai_site.listeners import LISTENERS

ROOT = Path(__file__).resolve().parents[2]
READY = re.compile(r"^ready in ([\d.]+) s", re.MULTILINE)
SETUP_LINK = re.compile(r"http://localhost:\d+/setup\?code=\S+")
PASSWORD = "a-long-test-password"


@dataclass(frozen=True)
class Box:
    """A running box: where it keeps its state, its supervisor, its ports, seconds from start to ready."""

    home: Path
    process: subprocess.Popen[bytes]
    offset: int
    seconds: float

    def port(self, name: str = "ui") -> int:
        """The TCP port of a listener."""
        return LISTENERS[name].port + self.offset

    def url(self, name: str = "ui") -> str:
        """The address of a listener, as a person types it."""
        return f"http://localhost:{self.port(name)}"

    @property
    def log(self) -> str:
        """All that the box has printed."""
        return (self.home / "serve.log").read_text()

    @property
    def setup_link(self) -> str:
        """The one-time link that the first start printed."""
        found = SETUP_LINK.search(self.log)
        assert found is not None, self.log
        return found[0]

    def manage(self, *arguments: str, stdin: str = "") -> str:
        """What `manage.py …` prints."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=ROOT, env=environment(self.home, self.offset), input=stdin,
            text=True, check=False, capture_output=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def operator(self, name: str) -> None:
        """Add an operator, whose password is `PASSWORD`."""
        self.manage("create_operator", name, "--password-file", "-", stdin=PASSWORD)

    def key(self, owner: str, *scopes: str) -> str:
        """A fresh API key of a person."""
        named = [word for scope in scopes or ("admin",) for word in ("--scope", scope)]
        return self.manage("apikey", "create", "test", "--owner", owner, *named)

    def http(self, key: str | None = None, name: str = "ui") -> httpx.Client:
        """A client for a listener's TCP port."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url(name), headers=headers, timeout=60, trust_env=False)

    def pids(self) -> dict[str, int]:
        """The processes by name, as they reported their confinement."""
        found = {}
        for path in (self.home / "run").glob("confinement-*.json"):
            fact = json.loads(path.read_text())
            if psutil.pid_exists(fact["pid"]):
                found[fact["profile"]] = fact["pid"]
        return found

    def memory(self) -> dict[str, int]:
        """Bytes of memory (proportional set size) by process."""
        names = {pid: name for name, pid in self.pids().items()} | {self.process.pid: "serve"}
        sizes = {}
        for process in [psutil.Process(self.process.pid), *self.descendants()]:
            with contextlib.suppress(psutil.NoSuchProcess):  # a check that ended meanwhile
                sizes[names.get(process.pid, f"child {process.pid}")] = process.memory_full_info().pss
        return sizes

    def descendants(self) -> list[psutil.Process]:
        """All processes below the supervisor."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def wait_for_model(self, key: str) -> None:
        """Wait until the bundled model has passed quarantine."""
        with self.http(key) as http:
            until(lambda: any(m["status"] == "promoted" for m in http.get("/api/models").json()), 300)


def until(condition: Callable[[], Any], seconds: float = 15) -> Any:
    """What `condition` returns once it is true; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.03)
    return value


def environment(home: Path, offset: int) -> dict[str, str]:
    """The environment of a box: its own home and ports, the real engine, nothing of the test run's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SECAI_", "DJANGO_"))}
    return {**kept, "SECAI_HOME": str(home), "SECAI_PORT_OFFSET": str(offset), "NO_COLOR": "1"}


@contextlib.contextmanager
def running(
    home: Path | None = None,
    *,
    offset: int = 13_000,
    arguments: tuple[str, ...] = (),
    log: str = "serve.log",
    **settings: str,
) -> Iterator[Box]:
    """Start a box and stop it at the end; without `home` in a scratch folder that goes with it."""
    scratch = None if home else Path(tempfile.mkdtemp(prefix="secai-"))
    folder = home or scratch
    assert folder is not None
    began = time.perf_counter()
    with (folder / log).open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "serve", *arguments], cwd=ROOT, env=environment(folder, offset) | settings,
            stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        while not READY.search((folder / log).read_text()):
            started = process.poll() is None and time.perf_counter() - began < 60
            assert started, f"the box did not start:\n{(folder / log).read_text()[-3000:]}"
            time.sleep(0.01)
        yield Box(folder, process, offset, time.perf_counter() - began)
    finally:
        stop(process)
        if scratch:
            shutil.rmtree(scratch, ignore_errors=True)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the supervisor and make sure that nothing of it is left."""
    if process.poll() is not None:
        return
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in psutil.wait_procs(family, timeout=3)[1]:
        child.kill()
