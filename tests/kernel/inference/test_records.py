import asyncio

import pytest

from secai_site.kernel.inference import records
from secai_site.kernel.inference.errors import GenerationExists, GenerationUnknown
from secai_site.kernel.inference.protocol import Delta, Done, State, Timings, Usage

END = Done("stop", Usage(), Timings())


async def test_a_follower_that_comes_late_sees_all_deltas_and_the_end() -> None:
    kept = records.Records()
    record = kept.open("a")
    for n in range(3):
        kept.add("a", Delta(n, str(n)))
    early = asyncio.create_task(_all(record))
    await asyncio.sleep(0)
    kept.add("a", State("writing"))
    kept.add("a", Delta(3, "3"))
    kept.add("a", END)
    expected = [Delta(n, str(n)) for n in range(4)]
    assert [event for event in await early if isinstance(event, Delta)] == expected
    assert await _all(kept.find("a")) == [*expected, END]


async def test_nothing_follows_the_end() -> None:
    kept = records.Records()
    kept.open("a")
    kept.add("a", END)
    kept.add("a", Delta(0, "late"))
    assert await _all(kept.find("a")) == [END]


async def test_finished_generations_are_forgotten_after_ten_minutes() -> None:
    now = [0.0]
    kept = records.Records(clock=lambda: now[0])
    kept.open("a")
    kept.open("runs on")
    kept.add("a", END)
    now[0] = 599
    assert kept.find("a") is not None
    with pytest.raises(GenerationExists):
        kept.open("a")
    now[0] = 601
    with pytest.raises(GenerationUnknown):
        kept.find("a")
    assert kept.find("runs on") is not None


async def test_memory_of_finished_generations_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "KEEP_CHARACTERS", 1000)
    kept = records.Records()
    for name in ("a", "b", "c"):
        kept.open(name)
        kept.add(name, Delta(0, "x" * 600))
        kept.add(name, END)
    with pytest.raises(GenerationUnknown):
        kept.find("a")
    assert kept.find("c").size == 600


async def _all(record: records.Record) -> list[object]:
    return [event async for event in record.follow()]
