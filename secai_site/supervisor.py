"""Keeping the processes of the box alive: one fork per listener, one for jobs, one for the engine.

Django is imported once, before the forks, so that six listeners share its memory and start at once. Children run
in process groups of their own, so that one Ctrl-C reaches the supervisor alone, which then stops them in order;
if the supervisor itself is killed, the kernel ends them.
"""

import asyncio
import errno
import fcntl
import http.client
import itertools
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from django.conf import settings
from django.db import connections

from secai_site.kernel.errors import ServiceError
from secai_site.kernel.inference.client import EngineClient
from secai_site.kernel.sandbox.limits import die_with_parent
from secai_site.listeners import ALL_LISTENERS, LISTENERS

BACKOFF_S = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
STABLE_S = 30.0
STOP_PATIENCE_S = 8.0
# A child is asked once in a round of a second each; this many rounds without any answer mean that it hangs.
SILENCE_LIMIT = 4
ANSWER_PATIENCE_S = 3.0
COLOURS = (36, 32, 33, 35, 34, 31, 96, 92)


@dataclass(slots=True)
class Child:
    """One process that should run; `target` runs in the fork and does not return."""

    name: str
    target: Callable[[], None]
    colour: int
    pid: int = 0
    pipe: int = -1
    started: float = 0.0
    failures: int = 0
    due: float = 0.0
    rest: bytes = b""
    silent: int = 0


class Supervisor:
    """Runs the named children until it is told to stop."""

    def __init__(self, targets: dict[str, Callable[[], None]], out: TextIO) -> None:
        self.children = {
            name: Child(name, target, COLOURS[n % len(COLOURS)])
            for n, (name, target) in enumerate(targets.items())
        }
        self.out = out
        self.stopping = False
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._turns = itertools.cycle(self.children.values())
        self._width = max(map(len, self.children))
        self._coloured = out.isatty() and "NO_COLOR" not in os.environ

    def run(self, when_ready: Callable[[float], None]) -> None:
        """Start all, keep them running, stop all on SIGINT or SIGTERM. Calls `when_ready(seconds)` once."""
        began = time.monotonic()
        self._catch_signals()
        for child in self.children.values():
            self._start(child)
        told = False
        while not self.stopping:
            self._wait(0.05 if not told else 1.0)
            self._reap()
            self._restart_due()
            if told:
                self._probe_one()
            if not told and all(map(is_healthy, self.children)):
                told = True
                when_ready(time.monotonic() - began)
        self._stop_all()

    # --- one child ---

    def _start(self, child: Child) -> None:
        connections.close_all()
        reader, writer = os.pipe()
        self.out.flush()
        supervisor = os.getpid()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            self._become(child, writer, supervisor)
        os.close(writer)
        fcntl.fcntl(reader, fcntl.F_SETFL, os.O_NONBLOCK)
        fcntl.fcntl(reader, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        child.pid, child.pipe, child.started, child.due = pid, reader, time.monotonic(), 0.0
        self._selector.register(reader, selectors.EVENT_READ, child)

    def _become(self, child: Child, writer: int, supervisor: int) -> None:
        """In the fork: cut loose from the terminal's signals, log into the pipe, run, never return."""
        status = 1
        try:
            die_with_parent(supervisor, signal.SIGTERM)
            os.setpgid(0, 0)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)
            os.dup2(writer, 1)
            os.dup2(writer, 2)
            os.close(writer)
            sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
            child.target()
            status = 0
        except SystemExit as leaving:
            status = leaving.code if isinstance(leaving.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _ended(self, child: Child, status: int) -> None:
        now = time.monotonic()
        self._drain(child)
        self._selector.unregister(child.pipe)
        os.close(child.pipe)
        child.failures = 0 if now - child.started > STABLE_S else child.failures + 1
        wait = BACKOFF_S[min(max(child.failures - 1, 0), len(BACKOFF_S) - 1)]
        child.pid, child.pipe, child.due = 0, -1, now + wait
        if not self.stopping:
            self._say(child, f"ended ({describe(status)}); starting it again in {wait:g} s")

    # --- the loop ---

    def _wait(self, timeout: float) -> None:
        due = [child.due for child in self.children.values() if child.due]
        if due:
            timeout = min(timeout, max(0.0, min(due) - time.monotonic()))
        for key, _ in self._selector.select(timeout):
            if isinstance(key.data, Child):
                self._drain(key.data)
            else:
                self._drain_wakeups()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for child in self.children.values():
                if child.pid == pid:
                    self._ended(child, status)

    def _probe_one(self) -> None:
        """Ask one child a turn whether it still answers; one that is stuck for long is killed and started again."""
        child = next(self._turns)
        if not child.pid or time.monotonic() - child.started < STABLE_S:
            return
        child.silent = 0 if is_alive(child.name) else child.silent + 1
        if child.silent >= SILENCE_LIMIT:
            self._say(child, "does not answer any more; killing it")
            child.silent = 0
            os.kill(child.pid, signal.SIGKILL)

    def _restart_due(self) -> None:
        for child in self.children.values():
            if child.due and child.due <= time.monotonic() and not self.stopping:
                self._start(child)

    def _stop_all(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            for child in self.children.values():
                if child.pid:
                    os.kill(child.pid, number)
            deadline = time.monotonic() + STOP_PATIENCE_S
            while any(child.pid for child in self.children.values()) and time.monotonic() < deadline:
                self._wait(0.05)
                self._reap()

    def _catch_signals(self) -> None:
        def stop(_number: int, _frame: object) -> None:
            self.stopping = True

        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self._selector.register(self._wake_read, selectors.EVENT_READ)

    # --- what children print ---

    def _drain(self, child: Child) -> None:
        while True:
            try:
                data = os.read(child.pipe, 65536)
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.EBADF):
                    break
                raise
            if not data:
                break
            *lines, child.rest = (child.rest + data).split(b"\n")
            for line in lines:
                self._say(child, line.decode("utf-8", "replace"))

    def _drain_wakeups(self) -> None:
        try:
            while os.read(self._wake_read, 512):
                pass
        except BlockingIOError:
            pass

    def _say(self, child: Child, text: str) -> None:
        name = f"{child.name:>{self._width}}"
        label = f"\033[{child.colour}m{name}\033[0m" if self._coloured else name
        self.out.write(f"{label} | {text}\n")
        self.out.flush()


def describe(status: int) -> str:
    """How a process ended, in words."""
    if os.WIFSIGNALED(status):
        return f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"exit status {os.WEXITSTATUS(status)}"


def is_healthy(name: str) -> bool:
    """Whether a process answers: /health of its listeners, an accepted connection for the engine."""
    if name == "jobs":
        return True
    if name == "engine":
        return _answers(name, lambda _door: True)
    return all(_answers(listener, _is_well) for listener in (LISTENERS if name == ALL_LISTENERS else [name]))


def is_alive(name: str) -> bool:
    """Whether a process answers at all, be it that it is not well."""
    if name == "jobs":
        return True
    if name == "engine":
        return _engine_answers()
    return all(
        _answers(listener, _says_something) for listener in (LISTENERS if name == ALL_LISTENERS else [name])
    )


def _engine_answers() -> bool:
    try:
        asyncio.run(EngineClient(settings.ENGINE_SOCKET).status())
    except ServiceError:
        return False
    return True


def _answers(name: str, ask: Callable[[socket.socket], bool]) -> bool:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
            door.settimeout(ANSWER_PATIENCE_S)
            door.connect(str(Path(settings.RUN_DIR) / f"{name}.sock"))
            return ask(door)
    except (OSError, http.client.HTTPException):
        return False


def _is_well(door: socket.socket) -> bool:
    return _health(door) == 200


def _says_something(door: socket.socket) -> bool:
    return _health(door) > 0


def _health(door: socket.socket) -> int:
    connection = http.client.HTTPConnection("localhost")
    connection.sock = door
    connection.request("GET", "/health")
    return connection.getresponse().status
