import asyncio
import math
from collections.abc import Sequence

import pytest

from secai_site.kernel.errors import InvalidRequest
from secai_site.kernel.inference.echo import EchoEngine
from secai_site.kernel.inference.errors import EngineDown, GenerationFailed
from secai_site.kernel.inference.protocol import Delta, Failed, ModelFile, Sampling

from .conftest import chat, collect, done, text_of


def cosine(left: Sequence[float], right: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


MODEL = ModelFile("echo", "echo.gguf", "0" * 64)


async def test_it_says_the_last_user_message_back() -> None:
    events = await collect(
        EchoEngine().generate(chat(MODEL, "first", "answer", "a  b\nc", sampling=Sampling()))
    )
    assert text_of(events) == "a  b\nc"
    assert (done(events).finish_reason, done(events).usage.completion_tokens) == ("stop", 3)


async def test_it_keeps_to_the_number_of_tokens() -> None:
    events = await collect(EchoEngine().generate(chat(MODEL, "a b c d", sampling=Sampling(max_tokens=2))))
    assert (text_of(events), done(events).finish_reason) == ("a b", "length")


async def test_it_can_be_cancelled_and_attached_to() -> None:
    engine = EchoEngine(delay=0.01)
    request = chat(MODEL, "word " * 500)
    stream = engine.generate(request)
    async for event in stream:
        if isinstance(event, Delta):
            break
    assert (await engine.status()).state == "busy"
    attached = asyncio.create_task(collect(engine.attach(request.id)))
    await asyncio.sleep(0.03)
    assert await engine.cancel(request.id)
    assert (await engine.status()).state == "idle"
    assert done(await attached).finish_reason == "cancelled"


async def test_it_can_fail_or_die_in_the_middle() -> None:
    failing = await collect(EchoEngine(fail_after=1).generate(chat(MODEL, "a b c")))
    assert text_of(failing) == "a"
    assert isinstance(failing[-1], Failed)
    with pytest.raises(GenerationFailed):
        await collect(EchoEngine(fail_after=0).generate(chat(MODEL, "a b c")))
    dying = EchoEngine(die_after=2)
    with pytest.raises(EngineDown):
        await collect(dying.generate(chat(MODEL, "a b c")))
    with pytest.raises(EngineDown):
        await dying.status()


async def test_its_vectors_are_alike_when_texts_share_words() -> None:
    engine = EchoEngine()
    found = await engine.embed(MODEL, ["the cat sat", "The cat, sat!", "the cat ran", "stocks fell", "…"])
    again = await engine.embed(MODEL, ["stocks fell"])
    assert again.vectors[0] == found.vectors[3]
    assert found.tokens == 12
    same, near, far = (cosine(found.vectors[0], other) for other in found.vectors[1:4])
    assert math.isclose(same, 1)
    assert 0.3 < near < 0.9
    assert far < 0.3
    with pytest.raises(InvalidRequest):
        await engine.embed(MODEL, [])
    engine.dead = True
    with pytest.raises(EngineDown):
        await engine.embed(MODEL, ["a"])
