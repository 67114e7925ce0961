"""The asyncio side of the worker: queue, model in memory, prompts, and the records of generations."""

import asyncio
import contextlib
import functools
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from secai_site.kernel.errors import ServiceError
from secai_site.kernel.inference import llama
from secai_site.kernel.inference.embedding import Embedder
from secai_site.kernel.inference.errors import (
    ContextTooLong,
    EngineBusy,
    GenerationFailed,
    ModelIntegrityError,
    ModelUnloaded,
    NoChatTemplate,
)
from secai_site.kernel.inference.loading import load
from secai_site.kernel.inference.memory import resident_bytes
from secai_site.kernel.inference.modelfile import ModelStore, OpenModel
from secai_site.kernel.inference.prompt import tokens_of_messages, tokens_of_prompt
from secai_site.kernel.inference.protocol import (
    Done,
    EmbeddingRequest,
    Embeddings,
    EngineStatus,
    Event,
    Failed,
    GenerationRequest,
    LoadedModel,
    ModelFile,
    State,
    Timings,
    Usage,
)
from secai_site.kernel.inference.queueing import Admit, Waiting, choose
from secai_site.kernel.inference.records import Record, Records
from secai_site.kernel.inference.runner import Job, Runner
from secai_site.kernel.inference.sampler import Sampler
from secai_site.kernel.inference.scheduler import Sequence
from secai_site.kernel.inference.template import TemplateRenderer
from secai_site.kernel.inference.text import TextStream

QUEUE_LIMIT: Final = 64


@dataclass(slots=True)
class Ticket:
    """A caller's place: `turn` is set when its model is in memory and it may use a slot.

    A ticket with `record` None is that of a `load`.
    """

    id: str
    model: ModelFile
    file: OpenModel
    since: float
    record: Record | None
    turn: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Dispatcher:
    """Lets generations in, one model at a time; everything here runs in one event loop."""

    def __init__(self, root: Path, *, context: int, slots: int, threads: int) -> None:
        self._store = ModelStore(root)
        self._renderer = TemplateRenderer()
        self._records = Records()
        self._context, self._slots, self._threads = context, slots, threads
        self._queue: list[Ticket] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._submitted: set[str] = set()
        self._active = 0
        self._loaded: LoadedModel | None = None
        self._model: llama.Model | None = None
        self._progress: float | None = None
        self._pump_wanted = asyncio.Event()
        self._stopping = False
        self._loop = asyncio.get_running_loop()
        self.runner = Runner(lambda events: self._post(events))
        self._embedder = Embedder(self._store, self.runner, threads=threads)
        self._pump_task = asyncio.create_task(self._pump(), name="pump")

    def _post(self, events: list[tuple[str, Event]]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
            self._loop.call_soon_threadsafe(self._note, events)

    def _note(self, events: list[tuple[str, Event]]) -> None:
        for generation_id, event in events:
            self._records.add(generation_id, event)

    async def start(self) -> None:
        """Start the engine thread and the template process."""
        self.runner.start()
        await self._renderer.start()

    async def close(self) -> None:
        """Stop everything; what runs is dropped."""
        self._stopping = True
        self.runner.stop()
        self._pump_task.cancel()
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(self._pump_task, *self._tasks.values(), return_exceptions=True)
        await self._renderer.close()

    # -- the operations ----------------------------------------------------------------------------------

    def generate(self, request: GenerationRequest) -> Record:
        """Start a generation; raises `GenerationExists` or `EngineBusy`. It goes on unattended."""
        if len(self._queue) >= QUEUE_LIMIT:
            raise EngineBusy("too many generations are waiting", retry_after=5)
        record = self._records.open(request.id)
        task = asyncio.create_task(self._serve(request, record), name=request.id)
        self._tasks[request.id] = task
        task.add_done_callback(lambda _task: self._tasks.pop(request.id, None))
        return record

    def attach(self, generation_id: str, after_seq: int) -> AsyncIterator[Event]:
        """Follow a generation from `after_seq` on; raises `GenerationUnknown`."""
        return self._records.find(generation_id).follow(after_seq)

    async def cancel(self, generation_id: str) -> bool:
        """End a generation; returns when its slot is free."""
        task = self._tasks.get(generation_id)
        if task is None:
            return False
        if generation_id in self._submitted:
            self.runner.cancel(generation_id)
        else:
            task.cancel()
        await asyncio.wait([task])
        final = self._records.find(generation_id).final
        return isinstance(final, Done) and final.finish_reason == "cancelled"

    async def load(self, model: ModelFile) -> LoadedModel:
        """Bring a model into memory in its turn."""
        if len(self._queue) >= QUEUE_LIMIT:
            raise EngineBusy("too many generations are waiting", retry_after=5)
        file = await self._verified(model)
        try:
            await self._take_turn(Ticket(f"load {id(file)}", model, file, time.monotonic(), None))
            try:
                if self._loaded is None:
                    raise ModelUnloaded("the model was unloaded meanwhile")
                return self._loaded
            finally:
                self._leave()
        finally:
            file.close()

    async def unload(self, name: str | None) -> None:
        """Free the memory now; generations of the loaded model end as "cancelled"."""
        await self._embedder.unload(name)
        if self._loaded is None or name not in (None, self._loaded.name):
            return
        self._loaded = self._model = None
        await asyncio.wrap_future(self.runner.call(self.runner.unload))

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """Read texts into vectors beside what is generated."""
        return await self._embedder.embed(request)

    def status(self) -> EngineStatus:
        """The engine at this moment."""
        loaded = self._loaded
        working: Literal["busy", "idle"] = "busy" if self._active else "idle"
        return EngineStatus(
            state="loading" if self._progress is not None else working,
            pid=os.getpid(),
            model=loaded.name if loaded else None,
            sha256=loaded.sha256 if loaded else None,
            context_length=loaded.context_length if loaded else None,
            memory_bytes=resident_bytes(),
            active=self._active,
            queued=len(self._queue),
            slots=self._slots,
            tokens_per_second=self.runner.tokens_per_second,
            progress=self._progress,
        )

    # -- one generation ----------------------------------------------------------------------------------

    async def _serve(self, request: GenerationRequest, record: Record) -> None:
        arrived = time.monotonic()
        try:
            await self._run(request, record, arrived)
        except asyncio.CancelledError:
            waited = (time.monotonic() - arrived) * 1000
            timings = Timings(queued_ms=waited, total_ms=waited)
            self._records.add(record.id, Done("cancelled", Usage(), timings))
            if self._stopping:
                raise
        except ServiceError as error:
            self._records.add(record.id, Failed.from_error(error))
        except Exception as error:
            failure = GenerationFailed(f"the engine ran into {type(error).__name__}")
            self._records.add(record.id, Failed.from_error(failure))
            raise

    async def _run(self, request: GenerationRequest, record: Record, arrived: float) -> None:
        record.add(State("queued"))
        file = await self._verified(request.model)
        try:
            await self._take_turn(Ticket(request.id, request.model, file, arrived, record))
        finally:
            file.close()
        try:
            self.runner.submit(await self._prepare(request, arrived))
            self._submitted.add(request.id)
            await record.finished()
        finally:
            self._submitted.discard(request.id)
            self._leave()

    async def _prepare(self, request: GenerationRequest, arrived: float) -> Job:
        model, loaded = self._model, self._loaded
        if model is None or loaded is None:
            raise ModelUnloaded("the model was unloaded before the generation began")
        tokens = await self._tokens(model, request)
        if self._model is not model:
            raise ModelUnloaded("the model was unloaded before the generation began")
        room = loaded.context_length - len(tokens)
        if room < 1 or not tokens:
            raise _no_room(len(tokens), loaded.context_length)
        sampling = request.sampling
        end = len(tokens) + min(sampling.max_tokens, room)
        sequence = Sequence(request.id, tokens, len(tokens), end)
        return Job(sequence, Sampler(model, sampling), TextStream(sampling.stop), arrived)

    async def _tokens(self, model: llama.Model, request: GenerationRequest) -> list[int]:
        if request.messages is None:
            return tokens_of_prompt(model, request.prompt or "")
        if model.template is None:
            raise NoChatTemplate(f"{request.model.name} has no chat template; give it a plain prompt")
        return await tokens_of_messages(model, self._renderer, model.template, request.messages)

    async def _verified(self, model: ModelFile) -> OpenModel:
        try:
            return await self._store.verified(model)
        except ModelIntegrityError:
            if self._loaded is not None and self._loaded.sha256 == model.sha256:
                await self.unload(self._loaded.name)  # its mapped weights can no longer be trusted
            raise

    # -- turns and the model in memory -------------------------------------------------------------------

    async def _take_turn(self, ticket: Ticket) -> None:
        """Wait in the queue; afterwards the caller counts as active until `_leave`."""
        self._queue.append(ticket)
        self._changed()
        try:
            await ticket.turn
        except asyncio.CancelledError:
            if ticket in self._queue:
                self._queue.remove(ticket)
            elif ticket.turn.done() and not ticket.turn.cancelled() and ticket.turn.exception() is None:
                self._active -= 1
            self._changed()
            raise

    def _leave(self) -> None:
        self._active -= 1
        self._changed()

    def _changed(self) -> None:
        for place, ticket in enumerate(self._queue, start=1):
            state = State("queued", place=place)
            if ticket.record is not None and ticket.record.state not in (state, None):
                ticket.record.add(state)
        self._pump_wanted.set()

    async def _pump(self) -> None:
        while True:
            await self._pump_wanted.wait()
            self._pump_wanted.clear()
            while await self._let_in():
                pass

    async def _let_in(self) -> bool:
        queue = [Waiting(ticket.id, ticket.model.sha256, ticket.since) for ticket in self._queue]
        loaded = self._loaded.sha256 if self._loaded else None
        next_one = choose(queue, loaded=loaded, active=self._active, slots=self._slots, now=time.monotonic())
        if next_one is None:
            return False
        ticket = next(ticket for ticket in self._queue if ticket.id == next_one.id)
        if not isinstance(next_one, Admit):
            await self._swap(ticket)
            return True
        self._queue.remove(ticket)
        if not ticket.turn.done():
            self._active += 1
            ticket.turn.set_result(None)
            self._changed()
        return True

    async def _swap(self, ticket: Ticket) -> None:
        """Load the ticket's model; when it fails, all that wait for this model fail."""
        self._progress = 0.0
        try:
            self._loaded = await self._load(ticket)
        except Exception as error:
            for other in [each for each in self._queue if each.model.sha256 == ticket.model.sha256]:
                self._queue.remove(other)
                if not other.turn.done():
                    other.turn.set_exception(error)
        finally:
            self._progress = None

    async def _load(self, ticket: Ticket) -> LoadedModel:
        self._loaded = self._model = None
        began = time.monotonic()
        # Descriptors of our own: the ticket may be cancelled, and close its files, while it loads.
        file = ticket.file.duplicate()
        bring_in = functools.partial(
            load,
            file.paths,
            context=self._context,
            slots=self._slots,
            threads=self._threads,
            progress=self._report_progress,
        )
        try:
            loaded = await asyncio.wrap_future(self.runner.call(lambda: self.runner.load(bring_in)))
            if not file.unchanged():
                await asyncio.wrap_future(self.runner.call(self.runner.unload))
                raise ModelIntegrityError(f"the file of {ticket.model.name} changed while it was loaded")
        finally:
            file.close()
        self._model = loaded.model
        return LoadedModel(
            name=ticket.model.name,
            sha256=ticket.model.sha256,
            context_length=loaded.cells,
            trained_context=loaded.model.trained_context,
            parameters=loaded.model.parameters,
            description=loaded.model.description,
            has_chat_template=loaded.model.template is not None,
            load_ms=(time.monotonic() - began) * 1000,
            memory_bytes=loaded.memory_bytes,
        )

    def _report_progress(self, value: float) -> bool:
        """Called from the engine thread; False stops the loading."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._note_progress, value)
        return not self._stopping

    def _note_progress(self, value: float) -> None:
        if self._progress is None or value - self._progress < 0.02:
            return
        self._progress = value
        for ticket in self._queue:
            if ticket.record is not None:
                ticket.record.add(State("loading", progress=value))


def _no_room(prompt_tokens: int, context_length: int) -> ServiceError:
    return ContextTooLong(
        f"the prompt has {prompt_tokens} tokens, and {context_length} is all that fits with an answer",
        prompt_tokens=prompt_tokens,
        context_length=context_length,
    )
