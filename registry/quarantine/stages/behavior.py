"""Stage 6: what does it do when it runs? Questions of our own, in an engine of its own that nobody else uses."""

import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final, Protocol

from django.conf import settings

from registry.purpose import Purpose, purpose_of
from registry.quarantine.stages.base import (
    StageVerdict,
    Subject,
    inconclusive,
    not_applicable,
    passed,
    refused,
)
from registry.quarantine.trial import budget, embedding
from registry.quarantine.trial.conduct import Conduct
from registry.quarantine.trial.follow import Tell, follow
from registry.quarantine.trial.session import SLOTS, Session, Trial, TrialFailed, Tries
from registry.quarantine.trial.vocabulary import VocabularyUnreadable, rare_tokens
from secai_site.kernel.errors import ServiceError
from secai_site.kernel.inference.isolated import isolated_engine
from secai_site.kernel.inference.protocol import ModelFile

CONTEXT: Final = 2048
# Hashing and loading from a slow disk comes on top of the time for the questions.
LOADING_S: Final = 60.0
BYTES_PER_SECOND: Final = 20_000_000
# Address space: the mapped file, a repacked copy of its weights, the cache; 1.2 GiB are the process itself
# (measured with a file of 0.25 GiB), most of it never touched.
MEMORY_PER_BYTE: Final = 3
MEMORY_BASE: Final = 6 * 2**30
NICENESS: Final = 10  # people who chat meanwhile come first
NOT_TEXT: Final = {
    Purpose.PICTURES: "It makes pictures; the behaviour test is for models that write text.",
    Purpose.WEIGHTS: "The text engine of this box does not run files of this kind, so there is no behaviour to test.",
}
NO_CONDUCT: Final = "It makes embeddings and writes no text, so there is no conduct to grade."


class EngineFactory(Protocol):
    """Starts an engine that sees the folder and nothing else, and ends it in any case; see `isolated_engine`."""

    def __call__(
        self,
        models_root: Path,
        socket_dir: Path,
        *,
        context: int,
        slots: int,
        time_limit: float,
        memory_limit: int,
        niceness: int,
    ) -> AbstractAsyncContextManager[Tries]: ...


class Behavior:
    """Integrity gates: what the model does unasked. Conduct is a grade, which gates only by the operator's policy.

    A model that is not graded because it does not chat is not held to the policy's minimum.
    """

    name = "behavior"
    version = "2"

    def __init__(self, engine: EngineFactory = isolated_engine, wall_s: float = budget.WALL_S) -> None:
        self._engine = engine
        self._wall_s = wall_s

    def examine(self, subject: Subject) -> StageVerdict:
        if subject.inspection is None:
            return inconclusive("What kind of model this is was not found out, so it was not tried.")
        purpose = purpose_of(subject.inspection.format, subject.facts)
        if purpose in NOT_TEXT:
            return not_applicable(NOT_TEXT[purpose])
        try:
            trial = follow(lambda tell: self._run(subject, purpose, tell), subject.progress)
        except (TrialFailed, VocabularyUnreadable) as error:
            return inconclusive(str(error))
        except TimeoutError:
            return inconclusive("The trial took too long and was stopped.")
        except ServiceError as error:
            return _engine_failed(error)
        return decide(trial, purpose, subject.policy.conduct_minimum)

    async def _run(self, subject: Subject, purpose: Purpose, tell: Tell) -> Trial:
        rare = () if purpose is Purpose.EMBEDDING else rare_tokens(subject.files[0].descriptor)
        limit = LOADING_S + subject.size_bytes / BYTES_PER_SECOND + self._wall_s
        async with self._engine(
            subject.folder, Path(settings.RUN_DIR), context=CONTEXT, slots=SLOTS, time_limit=limit,
            memory_limit=MEMORY_BASE + MEMORY_PER_BYTE * subject.size_bytes, niceness=NICENESS,
        ) as engine:  # fmt: skip
            if purpose is Purpose.EMBEDDING:
                return await _try_embedding(engine, model_file(subject))
            chats = purpose is Purpose.CHAT
            session = Session(
                engine, model_file(subject), subject.sha256, chats, rare, wall_s=self._wall_s, told=tell
            )
            return await session.run()


def model_file(subject: Subject) -> ModelFile:
    """The file, or the set, under scan, as the engine takes it."""
    parts = tuple(file.path for file in subject.files) if subject.is_set else ()
    return ModelFile(subject.name, str(subject.path), subject.sha256, parts)


async def _try_embedding(engine: Tries, model: ModelFile) -> Trial:
    began = time.monotonic()
    made = await engine.embed(model, embedding.SENTENCES)
    found = embedding.judge(made.vectors)
    return Trial(found, Conduct(reason=NO_CONDUCT), "", made.tokens, time.monotonic() - began)


def decide(trial: Trial, purpose: Purpose, minimum: int | None) -> StageVerdict:
    """The verdict on a finished trial. Pure."""
    evidence = trial.evidence()
    if flags := trial.integrity.flags:
        return refused(f"In the trial it did what it must not do. {flags[0].detail}", **evidence)
    if purpose is Purpose.EMBEDDING:
        return passed("It makes embeddings and writes no text; its vectors are sound.", **evidence)
    did = f"It answered {trial.integrity.ran} harmless questions and did nothing that nobody asked for."
    if purpose is Purpose.COMPLETION:
        return passed(
            f"{did} It completes texts and does not chat, so its conduct is not graded.", **evidence
        )
    if minimum is not None and (short := _falls_short(trial.conduct, minimum, evidence)):
        return short
    return passed(f"{did} {_graded(trial.conduct)}", **evidence)


def _falls_short(conduct: Conduct, minimum: int, evidence: dict[str, Any]) -> StageVerdict | None:
    if conduct.grade is None or not conduct.is_meaningful:
        return inconclusive(
            f"The operator's policy asks for a conduct grade of at least {minimum}, and there was no time to grade it.",
            **evidence,
        )
    if conduct.grade >= minimum:
        return None
    return refused(
        f"Its conduct is graded {conduct.grade} of 100; the operator's policy asks for at least {minimum}.",
        **evidence,
    )


def _graded(conduct: Conduct) -> str:
    if conduct.grade is None:
        return "There was no time to grade its conduct."
    return (
        f"Its conduct is graded {conduct.grade} of 100, on {len(conduct.judged)} of {conduct.total} prompts."
    )


def _engine_failed(error: ServiceError) -> StageVerdict:
    """The engine's refusal of the file is one; that the engine itself failed is no verdict on the file."""
    if error.http_status >= 500:
        return inconclusive(
            f"The engine stopped in the middle of the trial ({error.message}), so the file is not admitted.",
            code=error.error_code,
        )
    return refused(f"The engine cannot run it: {error.message}", code=error.error_code)
