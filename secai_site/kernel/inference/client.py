"""The engine over its Unix socket: one connection per call, events as they come."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from secai_site.kernel.errors import ServiceError
from secai_site.kernel.inference.errors import EngineDown
from secai_site.kernel.inference.protocol import (
    Delta,
    Done,
    EmbeddingRequest,
    Embeddings,
    EngineStatus,
    Event,
    Failed,
    GenerationRequest,
    LoadedModel,
    ModelFile,
)
from secai_site.kernel.inference.wire import (
    MAX_FRAME,
    WireError,
    dump_frame,
    pack,
    parse_event,
    parse_frame,
    unpack,
    unpack_embeddings,
)

# seconds; the worker answers this at once, also while it computes
STATUS_PATIENCE = 5.0


class EngineClient:
    """Implements `Engine`; raises `EngineDown` when the worker is not there or goes away."""

    def __init__(self, socket_path: Path | str) -> None:
        self._path = Path(socket_path)

    async def load(self, model: ModelFile) -> LoadedModel:
        """Bring `model` into memory after the running generations; raises Model… errors."""
        return unpack(LoadedModel, await self._ask({"op": "load", "model": pack(model)}))

    async def unload(self, name: str | None = None) -> None:
        """Free the memory now; generations of that model end as "cancelled"."""
        await self._ask({"op": "unload", "name": name})

    async def embed(self, model: ModelFile, texts: Sequence[str]) -> Embeddings:
        """Read 1 to 64 texts into vectors; the model that generates stays in memory."""
        request = EmbeddingRequest(model, tuple(texts))
        answer = await self._ask({"op": "embed", "request": pack(request)})
        return unpack_embeddings(answer, count=len(request.texts))

    async def cancel(self, generation_id: str) -> bool:
        """Stop a generation; returns when its sequence has left the batch."""
        return bool(await self._ask({"op": "cancel", "id": generation_id}))

    async def status(self) -> EngineStatus:
        """What the engine does now."""
        try:
            async with asyncio.timeout(STATUS_PATIENCE):
                return unpack(EngineStatus, await self._ask({"op": "status"}))
        except TimeoutError:
            raise EngineDown("the inference engine does not answer") from None

    def generate(self, request: GenerationRequest) -> AsyncIterator[Event]:
        """Start a generation and follow it; leaving the iterator does not stop it."""
        return self._follow({"op": "generate", "request": pack(request)}, delivered=False)

    def attach(self, generation_id: str, after_seq: int = -1) -> AsyncIterator[Event]:
        """Replay the deltas after `after_seq`, then follow live; raises `GenerationUnknown`."""
        frame = {"op": "attach", "id": generation_id, "after_seq": after_seq}
        return self._follow(frame, delivered=after_seq >= 0)

    async def _ask(self, frame: Mapping[str, Any]) -> Any:
        async with self._connection(frame) as reader:
            answer = await _read(reader)
        if "result" not in answer:
            raise _refusal(answer)
        return answer["result"]

    async def _follow(self, frame: Mapping[str, Any], *, delivered: bool) -> AsyncIterator[Event]:
        async with self._connection(frame) as reader:
            while True:
                answer = await _read(reader)
                if "refused" in answer:
                    raise _refusal(answer)
                event = parse_event(answer)
                if isinstance(event, Failed) and not delivered:
                    raise event.to_error()
                yield event
                delivered = delivered or isinstance(event, Delta)
                if isinstance(event, Done | Failed):
                    return

    @contextlib.asynccontextmanager
    async def _connection(self, frame: Mapping[str, Any]) -> AsyncIterator[asyncio.StreamReader]:
        line = dump_frame(frame)
        try:
            reader, writer = await asyncio.open_unix_connection(self._path, limit=MAX_FRAME)
        except OSError:
            raise EngineDown("the inference engine is not running") from None
        try:
            writer.write(line)
            await writer.drain()
            yield reader
        except (ConnectionError, asyncio.IncompleteReadError):
            raise EngineDown("the inference engine went away in the middle") from None
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader) -> dict[str, Any]:
    try:
        return parse_frame(await reader.readuntil(b"\n"))
    except asyncio.LimitOverrunError:
        raise WireError("the engine sent too long a frame") from None


def _refusal(answer: Mapping[str, Any]) -> ServiceError:
    return unpack(Failed, answer.get("refused")).to_error()
