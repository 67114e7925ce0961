import asyncio

import pytest

from secai_site.kernel.inference.echo import EchoEngine
from secai_site.kernel.inference.errors import EngineDown, GenerationFailed
from secai_site.kernel.inference.protocol import Delta, Failed, ModelFile, Sampling

from .conftest import chat, collect, done, text_of

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
