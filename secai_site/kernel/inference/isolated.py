"""A private engine for one purpose, such as the behaviour test of a model in quarantine."""

import asyncio
import contextlib
import os
import resource
import secrets
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from secai_site.kernel.inference.client import EngineClient
from secai_site.kernel.inference.confinement import ConfinementError, read_report
from secai_site.kernel.inference.errors import EngineDown
from secai_site.kernel.sandbox import Applied

STARTING: Final = 30.0
ENDING: Final = 2.0
SOURCES: Final = Path(__file__).resolve().parents[3]
# What a process needs to run Python and OpenMP; nothing else of the caller's environment is passed on.
KEPT_ENVIRONMENT: Final = ("PATH", "LANG", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "LLAMA_CPP_LIB_PATH")


class IsolatedEngine(EngineClient):
    """The client of a private engine; `confinement` says what its process is kept from, and what is missing."""

    def __init__(self, socket_path: Path, confinement: Applied) -> None:
        super().__init__(socket_path)
        self.confinement = confinement


def worker_environment() -> dict[str, str]:
    """The environment for a worker process: no secrets of the caller, the sources of this package."""
    kept = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
    return {**kept, "PYTHONPATH": str(SOURCES), "PYTHONDONTWRITEBYTECODE": "1"}


@contextlib.asynccontextmanager
async def isolated_engine(
    models_root: Path,
    socket_dir: Path,
    *,
    context: int = 2048,
    slots: int = 1,
    threads: int | None = None,
    time_limit: float | None = None,
    memory_limit: int | None = None,
    niceness: int = 0,
    require_sandbox: bool = True,
) -> AsyncIterator[IsolatedEngine]:
    """Start a worker of its own that can read nothing but `models_root`, give its client, and end it in any case.

    `time_limit` (seconds, from the start on): the worker is killed then, which calls in progress see as
    `EngineDown`. `memory_limit`: bytes of address space; `niceness`: as of nice(1). Without `require_sandbox` a
    machine that lacks Landlock or seccomp runs the worker all the same, and `confinement.lacks` says so. Raises
    `EngineDown` when it does not start or cannot be confined.
    """
    path = socket_dir / f"e{secrets.token_hex(4)}.sock"
    command = ["--socket", str(path), "--models-root", str(models_root)]
    command += ["--context", str(context), "--slots", str(slots)]
    command += ["--threads", str(threads)] if threads else []
    command += ["--confined", "fully" if require_sandbox else "as-far-as-possible"]
    worker = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "secai_site.kernel.inference.worker",
        *command,
        env=worker_environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd="/",
    )
    clock = asyncio.create_task(_end_after(worker, time_limit)) if time_limit is not None else None
    try:
        if memory_limit is not None:
            resource.prlimit(worker.pid, resource.RLIMIT_AS, (memory_limit, memory_limit))
        if niceness:
            os.setpriority(os.PRIO_PROCESS, worker.pid, niceness)  # its threads start later and inherit it
        client = IsolatedEngine(path, await _confinement_of(worker))
        await wait_until_up(client, worker)
        yield client
    finally:
        if clock is not None:
            clock.cancel()
        await end(worker)
        path.unlink(missing_ok=True)


async def wait_until_up(client: EngineClient, worker: asyncio.subprocess.Process) -> None:
    """Return when the worker answers; raises `EngineDown` when it ended or takes longer than 30 s."""
    deadline = asyncio.get_running_loop().time() + STARTING
    while worker.returncode is None and asyncio.get_running_loop().time() < deadline:
        with contextlib.suppress(EngineDown):
            await client.status()
            return
        await asyncio.sleep(0.02)
    raise EngineDown("the inference engine does not start")


async def _confinement_of(worker: asyncio.subprocess.Process) -> Applied:
    """What the worker says, before it serves; raises `EngineDown` when it is not confined as it has to be."""
    line = b""
    if worker.stdout is not None:
        with contextlib.suppress(TimeoutError, ValueError):
            async with asyncio.timeout(STARTING):
                line = await worker.stdout.readline()
    try:
        return read_report(line)
    except ConfinementError as error:
        raise EngineDown(f"the inference engine does not start: {error}") from None


async def end(worker: asyncio.subprocess.Process) -> None:
    """Ask the worker to end, and kill it when it does not within two seconds."""
    with contextlib.suppress(ProcessLookupError):
        worker.terminate()
    try:
        async with asyncio.timeout(ENDING):
            await worker.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            worker.kill()
        await worker.wait()


async def _end_after(worker: asyncio.subprocess.Process, seconds: float) -> None:
    await asyncio.sleep(seconds)
    with contextlib.suppress(ProcessLookupError):
        worker.kill()
