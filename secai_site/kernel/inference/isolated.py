"""A private engine for one purpose, such as the smoke generation of a model in quarantine."""

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
from secai_site.kernel.inference.errors import EngineDown

STARTING: Final = 30.0
ENDING: Final = 2.0
SOURCES: Final = Path(__file__).resolve().parents[3]
# What a process needs to run Python and OpenMP; nothing else of the caller's environment is passed on.
KEPT_ENVIRONMENT: Final = ("PATH", "LANG", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "LLAMA_CPP_LIB_PATH")


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
) -> AsyncIterator[EngineClient]:
    """Start a worker of its own, give its client, and end the worker in any case.

    `time_limit` (seconds, from the start on): the worker is killed then, which calls in progress see as
    `EngineDown`. `memory_limit`: bytes of address space. Raises `EngineDown` when it does not start.
    """
    path = socket_dir / f"e{secrets.token_hex(4)}.sock"
    command = ["--socket", str(path), "--models-root", str(models_root)]
    command += ["--context", str(context), "--slots", str(slots)]
    command += ["--threads", str(threads)] if threads else []
    worker = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "secai_site.kernel.inference.worker",
        *command,
        env=worker_environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )
    clock = asyncio.create_task(_end_after(worker, time_limit)) if time_limit is not None else None
    try:
        if memory_limit is not None:
            resource.prlimit(worker.pid, resource.RLIMIT_AS, (memory_limit, memory_limit))
        client = EngineClient(path)
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
