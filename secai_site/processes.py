"""What runs in each process of the box."""

import os
import signal
import sys
from collections.abc import Callable, Iterable

from django.conf import settings

from secai_site.confinement import confine
from secai_site.listeners import ALL_LISTENERS, LISTENERS, WORKERS


def listener(*names: str) -> None:
    """Serve listeners in this process."""
    from secai_site import server

    confine(*names)
    server.run(names)


def jobs() -> None:
    """Run jobs in this process."""
    from secai_site.kernel.jobs.worker import Worker

    confine("jobs")
    worker = Worker()
    signal.signal(signal.SIGTERM, lambda _number, _frame: worker.stop())
    signal.signal(signal.SIGINT, lambda _number, _frame: worker.stop())
    worker.run()


def engine() -> None:
    """Become the inference worker: a fresh interpreter that knows nothing of Django or the database."""
    arguments = [
        sys.executable, "-m", "secai_site.kernel.inference.worker",
        "--socket", str(settings.ENGINE_SOCKET), "--models-root", str(settings.MODELS_DIR),
        "--threads", str(settings.ENGINE_THREADS), "--context", str(settings.ENGINE_CONTEXT),
        "--slots", str(settings.ENGINE_SLOTS),
    ]  # fmt: skip
    confine("engine")
    kept = {
        name: os.environ[name] for name in ("PATH", "LANG", "HOME", "GOMP_SPINCOUNT") if name in os.environ
    }
    os.chdir(settings.BASE_DIR)
    os.execve(sys.executable, arguments, kept)  # noqa: S606 - our own module, no shell


def target(name: str) -> Callable[[], None]:
    """What the process `name` runs."""
    if name == "jobs":
        return jobs
    if name == "engine":
        return engine
    if name in LISTENERS:
        return lambda: listener(name)
    raise LookupError(name)


def targets(only: Iterable[str] = (), *, single: bool = False) -> dict[str, Callable[[], None]]:
    """The processes to run: all, or `only` some; `single` puts all listeners into one."""
    names = [name for name in (*LISTENERS, *WORKERS) if not only or name in only]
    unknown = set(only) - set(names)
    if unknown:
        raise LookupError(", ".join(sorted(unknown)))
    listeners = [name for name in names if name in LISTENERS]
    if single and listeners:
        return {ALL_LISTENERS: lambda: listener(*listeners)} | {n: target(n) for n in names if n in WORKERS}
    return {name: target(name) for name in names}
