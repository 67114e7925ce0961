"""Embedding models: vectors beside the model that generates."""

import asyncio
import hashlib
import math
import shutil
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from secai_site.kernel.errors import InvalidRequest
from secai_site.kernel.inference import embedding
from secai_site.kernel.inference.client import EngineClient
from secai_site.kernel.inference.embedding import Embedder, batches
from secai_site.kernel.inference.encoder import BATCH
from secai_site.kernel.inference.errors import (
    ContextTooLong,
    EngineBusy,
    ModelIntegrityError,
    ModelPathRefused,
    ModelUnloaded,
    WrongPurpose,
)
from secai_site.kernel.inference.modelfile import ModelStore
from secai_site.kernel.inference.protocol import (
    MAX_TEXTS,
    Delta,
    EmbeddingRequest,
    ModelFile,
    Sampling,
)
from secai_site.kernel.inference.runner import Runner
from tests.support.real_models import embedding_model

from .conftest import chat, collect, complete, done, text_of
from .test_parts import flip_last_byte

CAT = "A cat sits on the mat."
KITTEN = "A kitten rests on the rug."
STOCKS = "The stock market fell today."
COUNTING = "One, two, three, four, five, six, seven, eight, nine,"
LONG = Sampling(temperature=0, repeat_penalty=1.0, max_tokens=900)


def cosine(left: Sequence[float], right: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


@pytest.fixture(scope="module")
def encoder_path(models_root: Path) -> Iterator[Path]:
    path = models_root / "encoder.gguf"
    shutil.copy(embedding_model(), path)
    yield path
    path.unlink()


@pytest.fixture
def encoder(encoder_path: Path) -> ModelFile:
    with encoder_path.open("rb") as file:
        return ModelFile("encoder", encoder_path.name, hashlib.file_digest(file, "sha256").hexdigest())


async def test_texts_of_one_meaning_have_similar_vectors(engine: EngineClient, encoder: ModelFile) -> None:
    found = await engine.embed(encoder, [CAT, KITTEN, STOCKS])
    assert {len(vector) for vector in found.vectors} == {384}
    assert all(math.isclose(cosine(vector, vector), 1, abs_tol=1e-5) for vector in found.vectors)
    cat, kitten, stocks = found.vectors
    assert cosine(cat, kitten) > 0.55
    assert cosine(cat, stocks) < 0.15
    assert found.tokens == 26


async def test_a_text_has_the_same_vector_alone_and_among_others(
    engine: EngineClient, encoder: ModelFile
) -> None:
    texts = [f"{'word ' * (n * 7 % 130)}number {n}" for n in range(MAX_TEXTS)]
    together = (await engine.embed(encoder, texts)).vectors
    assert len(together) == MAX_TEXTS
    for n in (0, 1, 31, 63):
        (alone,) = (await engine.embed(encoder, [texts[n]])).vectors
        assert cosine(alone, together[n]) > 0.999


async def test_a_generation_goes_on_beside_it_and_its_model_stays(
    engine: EngineClient, demo: ModelFile, encoder: ModelFile
) -> None:
    alone = text_of(await collect(engine.generate(complete(demo, COUNTING))))
    request = complete(demo, COUNTING, LONG)
    stream = engine.generate(request)
    async for event in stream:
        if isinstance(event, Delta):
            break
    found = await engine.embed(encoder, [CAT] * MAX_TEXTS)
    assert len(found.vectors) == MAX_TEXTS
    status = await engine.status()
    assert (status.state, status.model) == ("busy", "demo")
    await engine.cancel(request.id)
    assert done(await collect(stream)).finish_reason == "cancelled"
    assert text_of(await collect(engine.generate(complete(demo, COUNTING)))) == alone


async def test_an_embedding_model_is_not_talked_to_and_a_chat_model_makes_no_vectors(
    engine: EngineClient, demo: ModelFile, encoder: ModelFile
) -> None:
    with pytest.raises(WrongPurpose, match="cannot write text") as refused:
        await collect(engine.generate(chat(encoder, "Hi")))
    assert (refused.value.http_status, refused.value.error_code) == (409, "model.purpose")
    with pytest.raises(WrongPurpose):
        await engine.load(encoder)
    with pytest.raises(WrongPurpose, match="no embedding model"):
        await engine.embed(demo, [CAT])
    assert (await engine.status()).model is None
    assert (await engine.embed(encoder, [CAT])).tokens > 0


async def test_a_text_longer_than_the_model_reads_is_refused(
    engine: EngineClient, encoder: ModelFile
) -> None:
    longest = await engine.embed(encoder, ["word " * 510])
    assert longest.tokens == 512
    with pytest.raises(ContextTooLong, match="text 2 has 513 tokens") as refused:
        await engine.embed(encoder, [CAT, "word " * 511])
    assert refused.value.extra == {"prompt_tokens": 513, "context_length": 512}


@pytest.mark.parametrize("texts", [[], [CAT] * (MAX_TEXTS + 1), [CAT, " \n"], ["x" * 65_537]], ids=len)
def test_what_is_no_list_of_texts_is_refused(texts: list[str]) -> None:
    with pytest.raises(InvalidRequest):
        EmbeddingRequest(ModelFile("m", "m", "0" * 64), tuple(texts))


async def test_other_bytes_than_admitted_are_not_read(
    engine: EngineClient, encoder: ModelFile, encoder_path: Path
) -> None:
    with pytest.raises(ModelIntegrityError):
        await engine.embed(ModelFile("encoder", encoder.path, "0" * 64), [CAT])
    with pytest.raises(ModelPathRefused):
        await engine.embed(ModelFile("encoder", "../encoder.gguf", encoder.sha256), [CAT])
    path = encoder_path.with_name("changing.gguf")
    shutil.copy(encoder_path, path)
    changing = ModelFile("changing", path.name, encoder.sha256)
    await engine.embed(changing, [CAT])
    in_memory = (await engine.status()).memory_bytes
    flip_last_byte(path)
    with pytest.raises(ModelIntegrityError):
        await engine.embed(changing, [CAT])
    assert (await engine.status()).memory_bytes < in_memory - 30_000_000
    path.unlink()


async def test_unloading_frees_its_memory_by_its_name(engine: EngineClient, encoder: ModelFile) -> None:
    await engine.embed(encoder, [CAT])
    in_memory = (await engine.status()).memory_bytes
    await engine.unload("other")
    assert (await engine.status()).memory_bytes > in_memory - 10_000_000
    await engine.unload("encoder")
    assert (await engine.status()).memory_bytes < in_memory - 30_000_000


def test_a_batch_has_as_many_texts_as_fit_and_keeps_their_order() -> None:
    lengths = [BATCH - 10, 10, 1, BATCH, 2 * BATCH, 5, 5]
    made = batches([n] * length for n, length in enumerate(lengths))
    assert [[tokens[0] for tokens in batch] for batch in made] == [[0, 1], [2], [3], [4], [5, 6]]


class SlowEncoder:
    """Stands for a model in memory; reads when it is let."""

    context_length = 100
    made: "list[SlowEncoder]" = []

    def __init__(self, paths: Sequence[str], *, threads: int) -> None:
        self.closed, self.may_read = False, threading.Event()
        self.made.append(self)

    def close(self) -> None:
        self.closed = True

    def tokens(self, text: str) -> list[int]:
        return list(text.encode())

    def read(self, texts: Sequence[list[int]]) -> list[list[float]]:
        self.may_read.wait(10)
        if self.closed:
            raise ModelUnloaded("the model was unloaded before all texts were read")
        return [[1.0] for _ in texts]


@pytest.fixture
async def embedder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Embedder]:
    (tmp_path / "m").write_bytes(b"m")
    monkeypatch.setattr(embedding, "Encoder", SlowEncoder)
    monkeypatch.setattr(SlowEncoder, "made", [])
    runner = Runner(lambda _events: None)
    runner.start()
    yield Embedder(ModelStore(tmp_path), runner, threads=1)
    for made in SlowEncoder.made:
        made.may_read.set()
    runner.stop()
    await asyncio.to_thread(runner.join)


REQUEST = EmbeddingRequest(ModelFile("m", "m", hashlib.sha256(b"m").hexdigest()), ("x" * 90,) * 9)


async def first_made() -> SlowEncoder:
    while not SlowEncoder.made:
        await asyncio.sleep(0.01)
    return SlowEncoder.made[0]


async def until_closed(encoder: SlowEncoder) -> None:
    while not encoder.closed:
        await asyncio.sleep(0.01)


async def test_it_is_kept_while_it_is_used_and_closed_when_idle(
    embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "IDLE_SECONDS", 0.05)
    reading = [asyncio.create_task(embedder.embed(REQUEST)) for _ in range(2)]
    encoder = await first_made()
    await asyncio.sleep(0.2)
    assert not encoder.closed
    encoder.may_read.set()
    assert [len((await each).vectors) for each in reading] == [9, 9]
    await until_closed(encoder)
    assert SlowEncoder.made == [encoder]


async def test_unloading_ends_what_is_being_read(embedder: Embedder) -> None:
    reading = asyncio.create_task(embedder.embed(REQUEST))
    encoder = await first_made()
    await asyncio.sleep(0.05)
    unloading = asyncio.create_task(embedder.unload("m"))
    await asyncio.sleep(0)
    encoder.may_read.set()
    await unloading
    assert encoder.closed
    with pytest.raises(ModelUnloaded):
        await reading


async def test_too_many_at_once_are_sent_away(embedder: Embedder) -> None:
    waiting = [asyncio.create_task(embedder.embed(REQUEST)) for _ in range(embedding.WAITING_LIMIT)]
    encoder = await first_made()
    with pytest.raises(EngineBusy) as refused:
        await embedder.embed(REQUEST)
    assert refused.value.retry_after == 5
    encoder.may_read.set()
    assert {len((await each).vectors) for each in waiting} == {9}
