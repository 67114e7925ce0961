"""An engine without a model, for tests of what is built on engines: it says back what it was told."""

import asyncio
import hashlib
import math
import os
import re
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from secai_site.kernel.inference.errors import EngineDown, GenerationFailed
from secai_site.kernel.inference.protocol import (
    Delta,
    Done,
    EmbeddingRequest,
    Embeddings,
    EngineStatus,
    Event,
    Failed,
    FinishReason,
    GenerationRequest,
    LoadedModel,
    ModelFile,
    State,
    Timings,
    Usage,
)
from secai_site.kernel.inference.records import Record, Records

CONTEXT_LENGTH = 4096
DIMENSIONS = 256


@dataclass(slots=True)
class EchoEngine:
    """Streams the last user message (or the prompt) back, a word a token, `delay` seconds apart.

    `fail_after` n: after n words the generation ends with `Failed`. `die_after` n: after n words the engine
    is gone; every call raises `EngineDown` until `dead` is set to False again. `refuse` is raised by `load`
    and by `generate` before anything is written. `requests` are those it was given, for assertions.
    """

    delay: float = 0.0
    fail_after: int | None = None
    die_after: int | None = None
    refuse: Exception | None = None
    dead: bool = False
    requests: list[GenerationRequest] = field(default_factory=list)
    _records: Records = field(default_factory=Records)
    _tasks: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)
    _loaded: LoadedModel | None = None

    async def load(self, model: ModelFile) -> LoadedModel:
        """Pretend to load `model`."""
        self._check()
        if self.refuse is not None:
            raise self.refuse
        self._loaded = LoadedModel(
            model.name, model.sha256, CONTEXT_LENGTH, CONTEXT_LENGTH, 0, "echo", True, 0.0, 0
        )
        return self._loaded

    async def embed(self, model: ModelFile, texts: Sequence[str]) -> Embeddings:
        """Vectors of the words that a text has: the more two texts share, the more alike they are."""
        self._check()
        if self.refuse is not None:
            raise self.refuse
        request = EmbeddingRequest(model, tuple(texts))
        words = [re.findall(r"\w+", text.lower()) or [text] for text in request.texts]
        return Embeddings(tuple(map(_vector, words)), sum(map(len, words)))

    async def unload(self, name: str | None = None) -> None:
        """Forget the model and cancel what runs, if `name` is the loaded one's or None."""
        self._check()
        if self._loaded is None or name not in (None, self._loaded.name):
            return
        self._loaded = None
        for generation_id in list(self._tasks):
            await self.cancel(generation_id)

    def generate(self, request: GenerationRequest) -> AsyncIterator[Event]:
        """Start to say back what `request` says."""
        return self._generate(request)

    def attach(self, generation_id: str, after_seq: int = -1) -> AsyncIterator[Event]:
        """Follow a generation again."""
        return self._attach(generation_id, after_seq)

    async def cancel(self, generation_id: str) -> bool:
        """Stop a generation."""
        self._check()
        task = self._tasks.get(generation_id)
        if task is None:
            return False
        task.cancel()
        await asyncio.wait([task])
        return True

    async def status(self) -> EngineStatus:
        """What it does now."""
        self._check()
        return EngineStatus(
            state="busy" if self._tasks else "idle",
            pid=os.getpid(),
            model=self._loaded.name if self._loaded else None,
            sha256=self._loaded.sha256 if self._loaded else None,
            context_length=CONTEXT_LENGTH if self._loaded else None,
            active=len(self._tasks),
            slots=1,
        )

    def _check(self) -> None:
        if self.dead:
            raise EngineDown("the inference engine is not running")

    async def _generate(self, request: GenerationRequest) -> AsyncIterator[Event]:
        self._check()
        if self.refuse is not None:
            raise self.refuse
        self.requests.append(request)
        await self.load(request.model)
        record = self._records.open(request.id)
        task = asyncio.create_task(self._speak(request, record))
        self._tasks[request.id] = task
        task.add_done_callback(lambda _task: self._tasks.pop(request.id, None))
        async for event in self._follow(record, -1):
            yield event

    async def _attach(self, generation_id: str, after_seq: int) -> AsyncIterator[Event]:
        self._check()
        async for event in self._follow(self._records.find(generation_id), after_seq):
            yield event

    async def _follow(self, record: Record, after_seq: int) -> AsyncIterator[Event]:
        async for event in record.follow(after_seq):
            if isinstance(event, Failed) and (event.code == EngineDown.code or not record.deltas):
                raise event.to_error()
            yield event

    async def _speak(self, request: GenerationRequest, record: Record) -> None:
        began, written, prompt = time.monotonic(), 0, _words(_source(request))
        record.add(State("reading", progress=0.0))
        reason: FinishReason = "stop"
        try:
            record.add(State("writing"))
            for word in prompt:
                if written == request.sampling.max_tokens:
                    reason = "length"
                    break
                if self._breaks(record, written):
                    return
                record.add(Delta(written, word))
                written += 1
                await asyncio.sleep(self.delay)
        except asyncio.CancelledError:
            reason = "cancelled"
        total = (time.monotonic() - began) * 1000
        usage = Usage(prompt_tokens=len(prompt), completion_tokens=written)
        self._records.add(record.id, Done(reason, usage, Timings(total_ms=total)))

    def _breaks(self, record: Record, written: int) -> bool:
        if self.die_after == written:
            self.dead = True
            gone = EngineDown("the inference engine went away in the middle")
            self._records.add(record.id, Failed.from_error(gone))
            return True
        if self.fail_after == written:
            failure = GenerationFailed("the engine could not go on (told so)")
            self._records.add(record.id, Failed.from_error(failure))
            return True
        return False


def _source(request: GenerationRequest) -> str:
    if request.messages is None:
        return request.prompt or ""
    return next((m.content for m in reversed(request.messages) if m.role == "user"), "")


def _words(text: str) -> list[str]:
    return re.findall(r"\s*\S+\s*$|\s*\S+", text) or ([text] if text else [])


def _vector(words: Sequence[str]) -> tuple[float, ...]:
    """How often each of the words is there, by a hash of it, brought to length 1."""
    counts = [0.0] * DIMENSIONS
    for word in words:
        counts[hashlib.sha256(word.encode()).digest()[0]] += 1
    length = math.hypot(*counts)
    return tuple(count / length for count in counts)
