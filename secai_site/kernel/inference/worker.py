"""The inference process: `python -m secai_site.kernel.inference.worker --socket PATH --models-root DIR`.

It serves one protocol (see `wire`) on a Unix socket of mode 0600, to processes of its own user only. One
request per connection; a generation goes on when its connection closes. It ends with its parent, and
within a second of SIGTERM.
"""

import argparse
import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import stat
import struct
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

from secai_site.kernel.errors import ServiceError
from secai_site.kernel.inference.confinement import confine
from secai_site.kernel.inference.protocol import (
    EmbeddingRequest,
    Event,
    Failed,
    GenerationRequest,
    ModelFile,
)
from secai_site.kernel.inference.wire import (
    MAX_FRAME,
    WireError,
    dump_frame,
    event_frame,
    pack,
    pack_embeddings,
    parse_frame,
    unpack,
)

PR_SET_PDEATHSIG: Final = 1
CONTEXT: Final = 8192  # tokens over all sequences: 190 MB of cache for the 135M demo model
SLOTS: Final = 4  # more than 4 sequences at once bring no more tokens per second on two cores
# How long OpenMP's threads spin before they sleep. With libgomp's default, a second busy program on the
# cores takes the engine from 103 to 1.6 tokens per second; with 1000 it keeps 41, and 110 when alone.
SPIN_COUNT: Final = "1000"
SWITCH_INTERVAL: Final = 0.0005  # seconds; the engine thread must not wait 5 ms for the interpreter lock
REQUEST_SECONDS: Final = 30.0
BACKLOG: Final = 128
EXIT_CODE_BROKEN: Final = 70
EXIT_CODE_UNCONFINED: Final = 78
CONFINED: Final = ("fully", "as-far-as-possible")


class Server:
    """Answers requests on the socket with what the dispatcher says."""

    def __init__(self, dispatcher: Any) -> None:
        self._dispatcher = dispatcher
        self._connections: set[asyncio.Task[None]] = set()
        self._operations: Mapping[str, Callable[[dict[str, Any]], Awaitable[Any]]] = {
            "load": self._load,
            "unload": self._unload,
            "embed": self._embed,
            "cancel": self._cancel,
            "status": self._status,
        }

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: one request, its answer or its events."""
        try:
            if _peer_uid(writer) == os.getuid():
                await self._answer(reader, writer)
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the client went away; what it started goes on
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = parse_frame(await _read_request(reader))
            operation = request.pop("op", None)
            if operation in ("generate", "attach"):
                await _send_events(writer, self._events(operation, request))
                return
            handler = self._operations.get(operation) if isinstance(operation, str) else None
            if handler is None:
                raise WireError("unknown operation")
            frame = {"result": await handler(request)}
        except ServiceError as error:
            frame = {"refused": pack(Failed.from_error(error))}
        writer.write(dump_frame(frame))
        await writer.drain()

    def _events(self, operation: str, request: dict[str, Any]) -> AsyncIterator[Event]:
        if operation == "generate":
            _expect(request, {"request"})
            record = self._dispatcher.generate(unpack(GenerationRequest, request["request"]))
            follow: AsyncIterator[Event] = record.follow()
            return follow
        _expect(request, {"id", "after_seq"})
        if type(request["after_seq"]) is not int:
            raise WireError("after_seq is a number")
        attached: AsyncIterator[Event] = self._dispatcher.attach(_text(request, "id"), request["after_seq"])
        return attached

    async def _load(self, request: dict[str, Any]) -> Any:
        _expect(request, {"model"})
        return pack(await self._dispatcher.load(unpack(ModelFile, request["model"])))

    async def _unload(self, request: dict[str, Any]) -> Any:
        _expect(request, {"name"})
        await self._dispatcher.unload(None if request["name"] is None else _text(request, "name"))
        return None

    async def _embed(self, request: dict[str, Any]) -> Any:
        _expect(request, {"request"})
        return pack_embeddings(await self._dispatcher.embed(unpack(EmbeddingRequest, request["request"])))

    async def _cancel(self, request: dict[str, Any]) -> Any:
        _expect(request, {"id"})
        return await self._dispatcher.cancel(_text(request, "id"))

    async def _status(self, request: dict[str, Any]) -> Any:
        _expect(request, set())
        return pack(self._dispatcher.status())


async def _read_request(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(REQUEST_SECONDS):
        try:
            return await reader.readuntil(b"\n")
        except asyncio.LimitOverrunError:
            raise WireError(f"a frame has at most {MAX_FRAME} bytes", status=413) from None


async def _send_events(writer: asyncio.StreamWriter, events: AsyncIterator[Event]) -> None:
    async for event in events:
        writer.write(dump_frame(event_frame(event)))
        await writer.drain()


def _expect(request: dict[str, Any], names: set[str]) -> None:
    if request.keys() != names:
        raise WireError(f"this operation takes {sorted(names)}")


def _text(request: dict[str, Any], name: str) -> str:
    value = request[name]
    if not isinstance(value, str):
        raise WireError(f"{name} is a string")
    return value


def _peer_uid(writer: asyncio.StreamWriter) -> int:
    """The user of the other side, as the kernel says."""
    peer = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    uid: int = struct.unpack("3i", peer)[1]
    return uid


def bind(path: Path) -> socket.socket:
    """A socket at `path` with mode 0600, not listening yet. It takes the place of one whose worker is dead, never of
    one that answers."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise SystemExit(f"{path} exists and is no socket")
        if _answers(path):
            raise SystemExit(f"another worker serves {path}")
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    return listener


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def physical_cores() -> int:
    """Cores this process may use, hyper-threads counted once: they share the unit that does the work."""
    cores = set()
    for cpu in os.sched_getaffinity(0):
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        try:
            cores.add(siblings.read_text(encoding="ascii"))
        except OSError:
            cores.add(str(cpu))
    return max(len(cores), 1)


def prepare_process(threads: int) -> None:
    """What must be so before llama.cpp is loaded, and before the first request."""
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ["GGML_NO_BACKTRACE"] = "1"  # on an assertion llama.cpp would start a debugger on this process
    sys.setswitchinterval(SWITCH_INTERVAL)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    threading.excepthook = _die_loudly


def _die_loudly(failure: threading.ExceptHookArgs) -> None:
    """Without its engine thread the process is of no use: end it, so that it is started again."""
    sys.excepthook(failure.exc_type, failure.exc_value or failure.exc_type(), failure.exc_traceback)
    os._exit(EXIT_CODE_BROKEN)


async def run(options: argparse.Namespace, listener: socket.socket) -> None:
    """Serve on `listener` until SIGTERM or SIGINT."""
    from secai_site.kernel.inference.dispatcher import Dispatcher  # after prepare_process

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    dispatcher = Dispatcher(
        options.models_root, context=options.context, slots=options.slots, threads=options.threads
    )
    await dispatcher.start()
    server = await asyncio.start_unix_server(
        Server(dispatcher).serve, sock=listener, limit=MAX_FRAME, backlog=BACKLOG
    )
    try:
        await stop.wait()
    finally:
        server.close()
        with contextlib.suppress(OSError):  # a confined worker may not; then its parent does
            options.socket.unlink()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await dispatcher.close()


def parse_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line; `--context` counts tokens over all sequences, one may use them all."""
    parser = argparse.ArgumentParser(description="SecAI inference worker")
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--models-root", type=Path, required=True)
    parser.add_argument("--threads", type=_positive, default=physical_cores())
    parser.add_argument("--context", type=_positive, default=CONTEXT)
    parser.add_argument("--slots", type=_positive, default=SLOTS)
    parser.add_argument("--confined", choices=CONFINED, help="see confinement.py; default: as it was started")
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def main() -> None:
    """Run the worker; ends without Python's own clean-up, as native threads may still compute."""
    options = parse_options()
    prepare_process(options.threads)
    listener = bind(options.socket)
    if options.confined and not confine(options.models_root, required=options.confined == "fully"):
        raise SystemExit(EXIT_CODE_UNCONFINED)
    asyncio.run(run(options, listener))
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
