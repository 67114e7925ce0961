"""An engine that answers by script, in place of one with a model, and a subject for it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry.policy import Policy
from registry.quarantine.inspect import Inspection
from registry.quarantine.stages.base import Subject, SubjectFile
from secai_site.kernel.inference.protocol import (
    Delta,
    Done,
    Embeddings,
    Event,
    GenerationRequest,
    LoadedModel,
    ModelFile,
    State,
    Timings,
    Usage,
)

Script = Callable[[str], str]
SHA256 = "a" * 64


def sensible(question: str) -> str:
    """Ordinary, short, and different for different questions."""
    return f"There is much to say about {' '.join(question.split()[-4:])} Most people agree on that."


@dataclass
class ScriptedEngine:
    """Answers each question with what `script` makes of it (the last message, or the prompt).

    `delay` seconds go by before each answer; `failure` is raised by `load`, or by the n-th answer when
    `fails_at` is n; `ends` False means that every answer runs into its limit.
    """

    script: Script = sensible
    delay: float = 0.0
    failure: Exception | None = None
    fails_at: int = 0
    ends: bool = True
    vectors: Sequence[Sequence[float]] = ()
    tokens_per_second: float = 1e4
    asked: list[GenerationRequest] = field(default_factory=list)
    open: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    @contextlib.asynccontextmanager
    async def start(
        self, models_root: Path, socket_dir: Path, **options: Any
    ) -> AsyncIterator["ScriptedEngine"]:
        """In place of `isolated_engine`; `open` tells whether it was ended."""
        self.open, self.options = True, {"models_root": models_root, **options}
        try:
            yield self
        finally:
            self.open = False

    async def load(self, model: ModelFile) -> LoadedModel:
        if self.failure is not None and not self.fails_at:
            raise self.failure
        return LoadedModel(model.name, model.sha256, 2048, 2048, 0, "scripted", True, 0.0, 0)

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Event]:
        self.asked.append(request)
        await asyncio.sleep(self.delay)
        if self.failure is not None and len(self.asked) >= self.fails_at:
            raise self.failure
        yield State("writing")
        text = self.script(request.messages[-1].content if request.messages else request.prompt or "")
        half = len(text) // 2
        yield Delta(0, text[:half])
        yield Delta(1, text[half:])
        usage = Usage(prompt_tokens=20, completion_tokens=max(len(text) // 4, 1))
        timings = Timings(first_token_ms=2.0, tokens_per_second=self.tokens_per_second)
        yield Done("stop" if self.ends else "length", usage, timings)

    async def embed(self, model: ModelFile, texts: Sequence[str]) -> Embeddings:
        if self.failure is not None:
            raise self.failure
        return Embeddings(tuple(tuple(vector) for vector in self.vectors), 24)


def subject(
    folder: Path, *, facts: dict[str, Any] | None = None, kind: str = "gguf", **extra: Any
) -> Subject:
    """A file under scan that passed the format gate; by default a model that chats."""
    path = folder / "artifact"
    path.write_bytes(b"")
    descriptor = extra.pop("descriptor")
    known = {"architecture": "llama", "chat_template": "{{ messages }}"} if facts is None else facts
    return Subject(
        folder=folder, path=path, files=(SubjectFile("model.gguf", descriptor, SHA256, 1000),), is_set=False,
        name="model", filename="model.gguf", source="local", sha256=SHA256, size_bytes=1000,
        policy=extra.pop("policy", Policy()), inspection=Inspection("pass", kind, "", "", facts=known), **extra,
    )  # fmt: skip
