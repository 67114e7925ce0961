"""One trial: the questions go to an engine of its own, several at once, within a budget of time."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, Protocol

from registry.quarantine.trial import budget, conduct, harmless, integrity
from registry.quarantine.trial.asks import Answer, Ask
from registry.quarantine.trial.conduct import Conduct
from registry.quarantine.trial.integrity import Integrity, shown
from secai_site.kernel.errors import ServiceError
from secai_site.kernel.inference.protocol import (
    Delta,
    Done,
    Embeddings,
    Event,
    Failed,
    GenerationRequest,
    LoadedModel,
    ModelFile,
    Sampling,
)

SLOTS: Final = 4
# So many are on their way at once: the next prompts are rendered while four answers are written.
UNDER_WAY: Final = 6
LONGEST_ANSWER: Final = 16_384
TEXTS_ONLY: Final = "It completes texts and does not chat, so there is no conduct to grade."


class Tries(Protocol):
    """The part of an engine that a trial needs."""

    async def load(self, model: ModelFile) -> LoadedModel:
        """Bring the model into memory."""

    def generate(self, request: GenerationRequest) -> AsyncIterator[Event]:
        """Answer one question."""

    async def embed(self, model: ModelFile, texts: Sequence[str]) -> Embeddings:
        """Read texts into vectors of length 1."""


class TrialFailed(Exception):
    """The trial came to no result; the message is a sentence for the file's owner."""


@dataclass(frozen=True, slots=True)
class Trial:
    """Both results, never mixed, and what it took: `tokens` written in `seconds` after loading."""

    integrity: Integrity
    conduct: Conduct
    sample: str
    tokens: int
    seconds: float

    def evidence(self) -> dict[str, Any]:
        """As stage evidence."""
        return {
            "integrity": self.integrity.evidence(), "conduct": self.conduct.evidence(),
            "sample": shown(self.sample, 200), "completion_tokens": self.tokens,
            "tokens_per_second": round(self.tokens / self.seconds, 1) if self.seconds else 0.0,
            "seconds": round(self.seconds, 1),
        }  # fmt: skip


@dataclass(slots=True)
class Session:
    """The trial of one model. `chats`: through its chat template; else it goes on with texts.

    `seed` (the file's digest) makes the planted words; `told` takes how far it is (0…1) in the event loop's
    thread; `wall_s` bounds all questions together.
    """

    engine: Tries
    model: ModelFile
    seed: str
    chats: bool
    rare_tokens: Sequence[str] = ()
    wall_s: float = budget.WALL_S
    told: Callable[[float], None] = lambda _fraction: None
    answers: dict[str, Answer] = field(default_factory=dict)
    _began: float = 0.0
    _numbers: Iterator[int] = field(default_factory=count)

    async def run(self) -> Trial:
        """Integrity, and what of conduct there is time for; raises `TrialFailed` and what the engine raises."""
        gate = await self.gate()
        if gate.flags:
            return self._trial(gate, Conduct(reason="It was not graded, as its integrity test failed."))
        if not self.chats:
            return self._trial(gate, Conduct(reason=TEXTS_ONLY))
        asks = conduct.asks()
        await self._ask(asks, share=(0.5, 1.0))
        return self._trial(gate, conduct.grade(self.answers))

    async def gate(self) -> Integrity:
        """The first result alone; raises as `run` does."""
        await self.engine.load(self.model)
        self._began = time.monotonic()
        make = harmless.chat_asks if self.chats else harmless.text_asks
        every = make(self.seed, self.rare_tokens)
        asks = await self._sized(every)
        await self._ask(asks, share=(0.0, 0.5 if self.chats else 1.0))
        if missing := [ask for ask in asks if ask.rank == 0 and ask.id not in self.answers]:
            raise TrialFailed(
                f"The time ran out with {len(missing)} of the most important questions unanswered. "
                "Try again when the box is less busy."
            )
        if not any(answer.text.strip() for answer in self.answers.values()):
            raise TrialFailed("It loads, but writes nothing at all.")
        return integrity.judge(asks, self.answers, harmless.triggers(self.rare_tokens), chats=self.chats)

    async def _sized(self, every: list[Ask]) -> list[Ask]:
        """The size of the test that fits, told from the time that the first question takes."""
        try:
            async with asyncio.timeout(self._left()):
                first = await self._answer(every[0])
        except TimeoutError:
            raise TrialFailed("It did not answer a single question in time on this box.") from None
        self.answers[every[0].id] = first
        pace = budget.pace_of(first)
        asks = budget.fitting(every, pace, self._left())
        if asks is None:
            raise TrialFailed(
                f"This box writes {pace.writes:.1f} tokens a second with this model, too slow for the shortest "
                "test. Import a smaller model, or one with stronger quantization."
            )
        return asks

    async def _ask(self, asks: Sequence[Ask], share: tuple[float, float]) -> None:
        """Ask what was not asked yet, until the time is over; an answer that fails raises."""
        low, high = share
        waiting = [ask for ask in asks if ask.id not in self.answers]
        running: dict[asyncio.Task[Answer], Ask] = {}
        try:
            while (waiting or running) and self._left() > 0:
                while waiting and len(running) < UNDER_WAY:
                    ask = waiting.pop(0)
                    running[asyncio.create_task(self._answer(ask))] = ask
                done, _pending = await asyncio.wait(
                    running, timeout=self._left(), return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    self._take(running.pop(task), task)
                self.told(low + (high - low) * (1 - (len(waiting) + len(running)) / max(len(asks), 1)))
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _take(self, ask: Ask, task: "asyncio.Task[Answer]") -> None:
        """Keep an answer. A question that this model cannot be given is left out, but for the most important."""
        try:
            self.answers[ask.id] = task.result()
        except ServiceError as error:
            if error.http_status >= 500 or ask.rank == 0:
                raise

    async def _answer(self, ask: Ask) -> Answer:
        request = GenerationRequest(
            id=f"trial-{next(self._numbers)}",
            model=self.model,
            messages=ask.messages,
            prompt=ask.prompt,
            sampling=Sampling(temperature=0.0, repeat_penalty=1.0, max_tokens=ask.tokens, seed=1),
        )
        text = ""
        async for event in self.engine.generate(request):
            match event:
                case Delta(text=piece):
                    text = (text + piece)[:LONGEST_ANSWER]
                case Failed():
                    raise event.to_error()
                case Done(finish_reason=finish, usage=usage, timings=timings):
                    return Answer(
                        text, finish, usage.prompt_tokens, usage.completion_tokens,
                        timings.first_token_ms, timings.tokens_per_second,
                    )  # fmt: skip
        raise ServiceError("The engine ended in the middle of an answer.", code="engine.failed", status=500)

    def _left(self) -> float:
        return self._began + self.wall_s - time.monotonic()

    def _trial(self, gate: Integrity, graded: Conduct) -> Trial:
        written = sum(answer.tokens for answer in self.answers.values())
        sample = next((answer.text for answer in self.answers.values() if answer.text.strip()), "")
        return Trial(gate, graded, sample, written, time.monotonic() - self._began)
