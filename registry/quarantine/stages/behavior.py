"""Stage 6: does it run? A short generation in an engine of its own, which nobody else uses."""

import asyncio
from pathlib import Path

from django.conf import settings

from registry.quarantine.stages.base import (
    StageVerdict,
    Subject,
    inconclusive,
    not_applicable,
    passed,
    refused,
)
from secai_site.kernel.errors import ServiceError
from secai_site.kernel.inference.isolated import isolated_engine
from secai_site.kernel.inference.protocol import (
    ChatMessage,
    Delta,
    Done,
    Failed,
    GenerationRequest,
    ModelFile,
    Sampling,
)

PROMPT = "Say hello in one short sentence."
TOKENS = 24
TIME_LIMIT_S = 300


class Behavior:
    """Loads the file in a private, short-lived engine process and lets it write one sentence."""

    name = "behavior"
    version = "1"

    def examine(self, subject: Subject) -> StageVerdict:
        if subject.inspection is None or subject.inspection.format != "gguf":
            return not_applicable("The text engine runs GGUF files only.")
        try:
            text, done = asyncio.run(_smoke(subject))
        except TimeoutError:
            return inconclusive(f"It did not finish a sentence within {TIME_LIMIT_S} s.")
        except ServiceError as error:
            if error.http_status >= 500:
                return inconclusive(f"The trial engine ended early: {error.message}", code=error.error_code)
            return refused(f"The engine cannot run it: {error.message}", code=error.error_code)
        if not text.strip():
            return refused("It loads, but writes nothing at all.")
        return passed(
            "It loads and writes text in an isolated engine.", sample=text[:200],
            completion_tokens=done.usage.completion_tokens, tokens_per_second=done.timings.tokens_per_second,
        )  # fmt: skip


async def _smoke(subject: Subject) -> tuple[str, Done]:
    chat = bool(subject.facts.get("chat_template"))
    request = GenerationRequest(
        id="smoke",
        model=ModelFile(subject.name, str(subject.path), subject.sha256),
        messages=(ChatMessage("user", PROMPT),) if chat else None,
        prompt=None if chat else PROMPT,
        sampling=Sampling(temperature=0.0, max_tokens=TOKENS, seed=1),
    )
    text, done = "", None
    async with (
        asyncio.timeout(TIME_LIMIT_S),
        isolated_engine(subject.folder, Path(settings.RUN_DIR)) as engine,
    ):
        async for event in engine.generate(request):
            match event:
                case Delta(text=piece):
                    text += piece
                case Failed():
                    raise event.to_error()
                case Done():
                    done = event
    if done is None:
        raise ServiceError("the generation did not end", code="engine.failed", status=500)
    return text, done
