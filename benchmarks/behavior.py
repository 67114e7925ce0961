"""The behaviour test on real models: how long it takes, how fast it writes, and how often its gate is wrong.

    python benchmarks/behavior.py [--rounds N] [MODEL.gguf …]

Without a model: the bundled chat model and the base model of the tests. The ratio
is the tokens per second of the whole test (prompts read, waiting, judging) ÷ the raw decode loop with four
sequences of `benchmarks/engine.py`. False alarms: these are ordinary models, so each flag is one. Beside the test
itself, every harmless question is asked again N times (default 5) at temperature 0.8, as an ordinary model of
another mind might answer; each such round is judged as a whole test.
"""

import argparse
import asyncio
import dataclasses
import hashlib
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.engine import raw_in_process
from registry.purpose import Purpose, purpose_of
from registry.quarantine.inspect import inspect_file
from registry.quarantine.trial.integrity import Integrity, shown
from registry.quarantine.trial.session import SLOTS, Session, Trial
from registry.quarantine.trial.vocabulary import rare_tokens
from secai_site.kernel.inference.client import EngineClient
from secai_site.kernel.inference.isolated import isolated_engine
from secai_site.kernel.inference.protocol import (
    Embeddings,
    Event,
    GenerationRequest,
    LoadedModel,
    ModelFile,
    Sampling,
)
from tests.support.real_models import base_model, chat_model

TEMPERATURE = 0.8


class Warm:
    """The engine, drawing its answers at a temperature in place of the likeliest ones."""

    def __init__(self, engine: EngineClient, seed: int) -> None:
        self.engine = engine
        self.seed = seed

    async def load(self, model: ModelFile) -> LoadedModel:
        """As the engine does."""
        return await self.engine.load(model)

    async def embed(self, model: ModelFile, texts: Sequence[str]) -> Embeddings:
        """As the engine does."""
        return await self.engine.embed(model, texts)

    def generate(self, request: GenerationRequest) -> AsyncIterator[Event]:
        """The same question, with a seed of its own."""
        sampling = Sampling(
            temperature=TEMPERATURE,
            repeat_penalty=1.0,
            max_tokens=request.sampling.max_tokens,
            seed=self.seed,
        )
        return self.engine.generate(
            dataclasses.replace(request, id=f"{request.id}.{self.seed}", sampling=sampling)
        )


async def measure(path: Path, rounds: int) -> None:
    """Run the test, then the rounds at a temperature, and print."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        found = inspect_file(file.fileno(), manifest=False)
        rare = rare_tokens(file.fileno())
    chats = purpose_of(found.format, found.facts) is Purpose.CHAT
    raw = raw_in_process(str(path), SLOTS)
    model = ModelFile("bench", str(path), digest)
    with tempfile.TemporaryDirectory() as folder:
        async with isolated_engine(path.parent, Path(folder), context=2048, slots=SLOTS) as engine:
            trial = await Session(engine, model, digest, chats, rare).run()
            report(path, trial, raw)
            warm = [
                await Session(Warm(engine, seed), model, digest, chats, rare).gate()
                for seed in range(1, rounds + 1)
            ]
    report_alarms([trial.integrity, *warm])


def report(path: Path, trial: Trial, raw: float) -> None:
    """One model's test: time, speed, grade."""
    speed = trial.tokens / trial.seconds
    print(f"{path.name}: {trial.seconds:.1f} s after loading, {trial.tokens} tokens, {speed:.1f} tokens/s")
    print(f"  ÷ raw decode loop with {SLOTS} sequences ({raw:.1f} tokens/s) = {speed / raw:.2f}")
    graded = trial.conduct
    print(f"  conduct: {graded.grade} of 100 on {len(graded.judged)} of {graded.total} {graded.reason}")
    for name, row in ((row["name"], row) for row in graded.evidence()["categories"]):
        print(f"    {name:22}{row['passed']} of {row['total']}")


def report_alarms(gates: list[Integrity]) -> None:
    """Of the greedy test and of the rounds at a temperature, how many would have been refused."""
    print(f"  false alarms: greedy {bool(gates[0].flags):d} of 1, at {TEMPERATURE} "
          f"{sum(bool(gate.flags) for gate in gates[1:])} of {len(gates) - 1} rounds, "
          f"{sum(gate.ran for gate in gates)} answers in all")  # fmt: skip
    for gate in gates:
        for check in gate.checks:
            if check.outcome in ("flag", "noted"):
                print(f"    {check.outcome}: {check.id}: {shown(check.detail)}")


def main() -> None:
    """All models, one after the other."""
    parser = argparse.ArgumentParser(description="The behaviour test on real models")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("models", type=Path, nargs="*")
    options = parser.parse_args()
    for path in options.models or [chat_model(), base_model()]:
        asyncio.run(measure(path.resolve(), options.rounds))


if __name__ == "__main__":
    main()
