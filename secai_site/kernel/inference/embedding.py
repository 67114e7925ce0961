"""The asyncio side of embeddings: one embedding model beside the model that generates, kept while it is used.

It has weights and a context of its own, so that a search never takes the chat model out of memory, and goes a
minute after its last use. Both compute in the engine thread, in turn: a batch of texts, then the next step of
the generations.
"""

import asyncio
import concurrent.futures
import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from secai_site.kernel.errors import InvalidRequest
from secai_site.kernel.inference.encoder import BATCH, Encoder
from secai_site.kernel.inference.errors import ContextTooLong, EngineBusy, ModelIntegrityError
from secai_site.kernel.inference.modelfile import ModelStore, OpenModel
from secai_site.kernel.inference.protocol import EmbeddingRequest, Embeddings, ModelFile
from secai_site.kernel.inference.runner import Runner

IDLE_SECONDS: Final = 60.0  # to load 46 MB again takes 0.1 s
WAITING_LIMIT: Final = 64

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Held:
    """The embedding model in memory."""

    name: str
    sha256: str
    encoder: Encoder


class Embedder:
    """Answers requests one after the other; everything here runs in one event loop."""

    def __init__(self, store: ModelStore, runner: Runner, *, threads: int) -> None:
        self._store, self._runner, self._threads = store, runner, threads
        self._held: Held | None = None
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._idle: asyncio.TimerHandle | None = None

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """Read the texts in their turn; raises what `Engine.embed` says, `EngineBusy`, `ModelUnloaded`."""
        if self._waiting >= WAITING_LIMIT:
            raise EngineBusy("too many requests for vectors are waiting", retry_after=5)
        self._waiting += 1
        try:
            async with self._turn:
                return await self._embed(request)
        finally:
            self._waiting -= 1
            self._close_when_idle()

    async def unload(self, name: str | None) -> None:
        """Free the memory now, if `name` is that of the model or None; what is being read ends with an error."""
        if self._held is not None and name in (None, self._held.name):
            await _ended(self._let_go(self._held))

    def _let_go(self, held: Held) -> "concurrent.futures.Future[None]":
        self._held = None
        return self._runner.call(held.encoder.close)

    async def _embed(self, request: EmbeddingRequest) -> Embeddings:
        file = await self._verified(request.model)
        try:
            encoder = await self._encoder(request.model, file)
        finally:
            file.close()
        tokens = await self._in_engine(lambda: _tokens(encoder, request.texts))
        vectors: list[list[float]] = []
        for batch in batches(tokens):
            vectors += await self._in_engine(functools.partial(encoder.read, batch))
        return Embeddings(tuple(map(tuple, vectors)), sum(map(len, tokens)))

    async def _verified(self, model: ModelFile) -> OpenModel:
        try:
            return await self._store.verified(model)
        except ModelIntegrityError:
            if self._held is not None and self._held.sha256 == model.sha256:
                await self.unload(self._held.name)  # its mapped weights can no longer be trusted
            raise

    async def _encoder(self, model: ModelFile, file: OpenModel) -> Encoder:
        if self._held is not None and self._held.sha256 == model.sha256:
            return self._held.encoder
        await self.unload(None)
        encoder = await self._in_engine(lambda: Encoder(file.paths, threads=self._threads))
        if not file.unchanged():
            await self._in_engine(encoder.close)
            raise ModelIntegrityError(f"the file of {model.name} changed while it was loaded")
        self._held = Held(model.name, model.sha256, encoder)
        return encoder

    async def _in_engine(self, function: Callable[[], T]) -> T:
        """Run it between two steps of the generations."""
        return await _ended(self._runner.call(function))

    def _close_when_idle(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if self._held is not None and not self._waiting:
            self._let_go(self._held)


async def _ended(running: "concurrent.futures.Future[T]") -> T:
    """What came of it; it ends in any case, also when nobody waits for it any longer."""
    return await asyncio.shield(asyncio.wrap_future(running))


def batches(texts: Iterable[list[int]]) -> list[list[list[int]]]:
    """The texts in their order, as many together as have `BATCH` tokens; a longer one is alone."""
    made: list[list[list[int]]] = []
    room = 0
    for tokens in texts:
        if len(tokens) > room:
            made.append([])
            room = BATCH
        made[-1].append(tokens)
        room -= len(tokens)
    return made


def _tokens(encoder: Encoder, texts: Sequence[str]) -> list[list[int]]:
    """The tokens of each text; raises `ContextTooLong` for one that the model cannot read at once."""
    found = [encoder.tokens(text) for text in texts]
    for number, tokens in enumerate(found, start=1):
        if not tokens:
            raise InvalidRequest(f"text {number} has nothing that this model can read")
        if len(tokens) > encoder.context_length:
            raise ContextTooLong(
                f"text {number} has {len(tokens)} tokens, and this model reads {encoder.context_length} at once;"
                " give it in several pieces",
                prompt_tokens=len(tokens),
                context_length=encoder.context_length,
            )
    return found
