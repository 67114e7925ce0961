"""A box whose processes are killed at a named point of their work, and started again.

One process loads Django once and forks for every task, as the supervisor does. A task with a bomb ends by SIGKILL
when it reaches its point; the next one finds what is on the disk and nothing else. `Home` is the test's side,
`serve` the other one.
"""

import fcntl
import io
import json
import os
import pkgutil
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.db import connection

from registry import intake, services, store
from registry.lifecycle import STAGES
from registry.models import Artifact, QuarantineItem
from registry.quarantine import scan as scanning
from registry.quarantine.stages.base import StageVerdict, Subject, passed
from registry.quarantine.stages.behavior import Behavior
from registry.record import is_record_of
from registry.sweep import sweep
from secai_site.kernel.jobs.models import Job
from secai_site.kernel.jobs.queue import UNFINISHED, enqueue
from secai_site.kernel.jobs.worker import Worker
from tests.support.box import ROOT, environment
from tests.support.hostile_models import ARCHITECTURE, STRING, U32, Gguf, kv

START = "import django; django.setup(); from tests.support import crash; crash.serve()"
DAY_S = 24 * 3600


@dataclass(frozen=True)
class Bomb:
    """Kills its process before or after a call of `target` (`module:name`), when the call's arguments are such."""

    target: str
    after: bool = False
    when: Callable[..., bool] = lambda *_arguments, **_named: True

    def arm(self) -> None:
        """Put it in the place of its target, in this process."""
        owner, name = _owner(self.target)
        real = getattr(owner, name)

        def bombed(*arguments: Any, **named: Any) -> Any:
            due = self.when(*arguments, **named)
            if due and not self.after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = real(*arguments, **named)
            if due:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(owner, name, bombed)


def _owner(target: str) -> tuple[Any, str]:
    """What holds the target, a module or a class, and its name there."""
    module, _, path = target.partition(":")
    owner, _, name = path.rpartition(".")
    return pkgutil.resolve_name(f"{module}:{owner}"), name


def _at_stage(name: str) -> Callable[..., bool]:
    return lambda stage, *_others: bool(stage.name == name)


def _is_scan(_worker: str, found: Job, *_others: Any, **_named: Any) -> bool:
    return found.kind == "registry.scan"


STAGE_POINTS: dict[str, Bomb] = {
    f"{'after' if after else 'before'} {name}": Bomb(
        "registry.quarantine.scan:_examine", after, _at_stage(name)
    )
    for name in STAGES
    for after in (False, True)
}
SCAN_POINTS: dict[str, Bomb] = {
    "job claimed, not begun": Bomb("secai_site.kernel.jobs.worker:run_job"),
    "while the confined child reads": Bomb("registry.quarantine.inspect:_collect"),
    "verdict fallen, not kept": Bomb("registry.quarantine.scan:_guarded", True, _at_stage("static_scan")),
    "event committed, checkpoint behind": Bomb("secai_site.kernel.audit.checkpoint:write"),
    "checkpoint written, not renamed": Bomb("os:replace", when=lambda source, _to: source.suffix == ".draft"),
    "held, not promoted": Bomb("registry.services:promote_item"),
    "linked, not renamed": Bomb("registry.store:_fill", True),
    "renamed, no row": Bomb("registry.store:place", True),
    "row written, not committed": Bomb("registry.services:_new_artifact", True),
    "row committed, quarantined copy still there": Bomb("registry.services:_enter", True),
    "promoted, job not ended": Bomb("secai_site.kernel.jobs.queue:finish", when=_is_scan),
}
INTAKE_POINTS: dict[str, Bomb] = {
    "noted, not moved": Bomb("registry.intake:_write_note", True),
    "moved, old name still there": Bomb("registry.intake:publish", True),
    "moved, no row": Bomb("registry.intake:_enter"),
    "row committed, note still there": Bomb(
        "pathlib:Path.unlink", when=lambda path, **_named: path.name == intake.NOTE
    ),
}
TEMPLATE_POINTS: dict[str, Bomb] = {
    "while the template is reviewed": Bomb("registry.quarantine.child:_collect"),
}
FAILING_POINTS: dict[str, Bomb] = {
    "failed, not moved": Bomb("registry.store:take_out"),
    "moved, entry still there": Bomb("registry.store:remove"),
}
POINTS: Mapping[str, Bomb] = STAGE_POINTS | SCAN_POINTS | TEMPLATE_POINTS | INTAKE_POINTS | FAILING_POINTS


# --- the test's side ---------------------------------------------------------------------------------


@dataclass
class Home:
    """A scratch home and the process that does tasks in it, each in a process of its own."""

    folder: Path
    process: "subprocess.Popen[str]" = field(init=False)

    def __enter__(self) -> "Home":
        own = {
            "SECAI_ENGINE": "echo",
            "SECAI_DEMO_MODEL": "0",
            "DJANGO_SETTINGS_MODULE": "secai_site.settings",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", START], cwd=ROOT, env=environment(self.folder, 0) | own, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.do("prepare")
        return self

    def __exit__(self, *_raised: object) -> None:
        self.process.communicate(timeout=20)

    def do(self, task: str, **arguments: Any) -> Any:
        """What a task returns, which has to end well."""
        ended = self._ask(task, "", arguments)
        assert ended["signal"] == 0, f"{task} failed: {ended}"
        return ended["result"]

    def kill(self, task: str, at: str, **arguments: Any) -> int:
        """Do a task that is killed at a point, and return the pid that it had."""
        ended = self._ask(task, at, arguments)
        assert ended["signal"] == signal.SIGKILL, f"{task} did not get to “{at}”: {ended}"
        return int(ended["pid"])

    def _ask(self, task: str, at: str, arguments: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps([task, at, arguments]), file=self.process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer


# --- the other side ----------------------------------------------------------------------------------


def serve() -> None:
    """Do the tasks that come as lines, `[task, point or "", arguments]`, until there are no more."""
    for line in sys.stdin:
        task, at, arguments = json.loads(line)
        print(json.dumps(_in_a_process(task, at, arguments)), flush=True)


def _in_a_process(task: str, at: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Fork, do the task there and wait until that process is gone: its pid, its signal (or -1), its result."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.dup2(2, 1)
            if at:
                POINTS[at].arm()
            os.write(writer, json.dumps(TASKS[task](**arguments)).encode())
            status = 0
        finally:
            sys.stdout.flush()
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(pid, 0)
    signalled = os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status)
    return {"pid": pid, "signal": signalled, "result": json.loads(said) if said else None}


def prepare() -> None:
    """What every start of a box does first."""
    call_command("prepare")


def submit(names: list[str], source: str = "") -> list[str]:
    """Submit a small model of its own under each name, or the file `source`; returns the digests."""
    return [_submit(name, source) for name in names]


def _submit(name: str, source: str) -> str:
    path = Path(settings.QUARANTINE_DIR) / "incoming" / uuid.uuid4().hex
    if source:
        shutil.copyfile(source, path)
    else:
        path.write_bytes(Gguf(keys=(
            ARCHITECTURE, kv("general.name", STRING, name), kv("llama.context_length", U32, 128),
        )).build())  # fmt: skip
    return intake.submit(
        path=path.name, name=name, filename=f"{name}.gguf", source="local", actor="user:1"
    ).sha256


class Behaves(Behavior):
    """The behaviour stage without its trial, which takes long and for which small files do not run."""

    def examine(self, subject: Subject) -> StageVerdict:
        return passed("It does nothing that nobody asked for.")


def work() -> None:
    """Run the job worker until nothing is queued."""
    scanning.STAGES = tuple(Behaves if kind is Behavior else kind for kind in scanning.STAGES)
    worker = Worker(threads=1)  # which model a bomb meets must not be a matter of luck
    threading.Thread(target=_stop_when_idle, args=(worker,), daemon=True).start()
    worker.run()


def _stop_when_idle(worker: Worker) -> None:
    while Job.objects.filter(state__in=UNFINISHED).exists():
        time.sleep(0.05)
    connection.close()
    worker.stop()


def restart() -> None:
    """What a start of the box does: prepare, then work."""
    prepare()
    work()


def verify() -> None:
    """Check all promoted models, as the background check does."""
    enqueue("registry.verify", background=False)
    work()


def rescan(name: str) -> None:
    """What the operator does about a scan that was given up."""
    services.rescan(item=QuarantineItem.objects.get(name=name), actor="user:1")


def clear_up() -> None:
    """The sweep of tomorrow."""
    sweep(now=time.time() + DAY_S)


def look() -> dict[str, Any]:
    """What there is: rows with what their files hold, jobs, names on the disk, the audit chain, the store's lock."""
    audit = io.StringIO()
    call_command("audit_verify", stdout=audit)
    return {
        "items": [_item(row) for row in QuarantineItem.objects.all()],
        "artifacts": [_artifact(row) for row in Artifact.objects.all()],
        "jobs": list(Job.objects.filter(kind="registry.scan").values_list("state", flat=True)),
        "store": sorted(entry.name for entry in Path(settings.MODELS_DIR).iterdir()),
        "quarantine": sorted(entry.name for entry in Path(settings.QUARANTINE_DIR).iterdir()),
        "incoming": len(list((Path(settings.QUARANTINE_DIR) / "incoming").iterdir())),
        "audit": audit.getvalue(),
        "locked": _is_locked(),
    }


def _item(row: QuarantineItem) -> dict[str, Any]:
    return {
        "id": str(row.pk), "name": row.name, "status": row.status, "sha256": row.sha256, "reason": row.reason,
        "there": row.file.exists(), "stages": dict(row.stages.values_list("name", "verdict")),
    }  # fmt: skip


def _artifact(row: Artifact) -> dict[str, Any]:
    there = store.store_path(row.sha256).exists()
    return {
        "name": row.name, "status": row.status, "sha256": row.sha256, "path": row.path,
        "actual": store.digest_of(row.sha256, []) if there else None,
        "genuine": is_record_of(row.record, name=row.name, sha256=row.sha256),
        "stages": {stage["name"]: stage["verdict"] for stage in row.scan},
    }  # fmt: skip


def _is_locked() -> bool:
    with (Path(settings.MODELS_DIR) / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


TASKS: Mapping[str, Callable[..., Any]] = {
    task.__name__: task
    for task in (prepare, submit, work, restart, verify, rescan, clear_up, look)
}  # fmt: skip
