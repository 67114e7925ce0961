from hypothesis import given
from hypothesis import strategies as st

from secai_site.kernel.inference.queueing import PATIENCE, Admit, Swap, Waiting, choose
from secai_site.kernel.inference.scheduler import (
    Pace,
    Sequence,
    Slot,
    common_prefix,
    evictions,
    fits,
    place,
    plan_step,
)


def running(index: int, prompt: int, fed: int, written: int = 0, end: int = 500) -> Slot:
    tokens = list(range(prompt + written))
    return Slot(index, sequence=Sequence(f"s{index}", tokens, prompt, end, fed=fed))


@given(st.lists(st.integers(0, 2)), st.lists(st.integers(0, 2)))
def test_common_prefix_is_the_length_of_the_shared_beginning(left: list[int], right: list[int]) -> None:
    n = common_prefix(left, right)
    assert left[:n] == right[:n]
    assert n == min(len(left), len(right)) or left[n] != right[n]


def test_a_prompt_goes_to_the_slot_that_holds_its_beginning() -> None:
    slots = [Slot(0, cached=[1, 2, 3, 4]), Slot(1, cached=[9, 9])]
    where = place(slots, [1, 2, 3, 4, 5])
    assert where is not None
    assert (where.slot.index, where.keep, where.source) == (0, 4, None)


def test_the_last_token_of_a_prompt_is_always_fed_again() -> None:
    where = place([Slot(0, cached=[1, 2, 3])], [1, 2, 3])
    assert where is not None
    assert where.keep == 2


def test_a_strange_prompt_takes_the_unused_slot_then_the_least_recently_used() -> None:
    slots = [Slot(0, cached=[1], used=2), Slot(1, cached=[2], used=1), Slot(2)]
    first = place(slots, [7, 8])
    assert first is not None
    assert first.slot.index == 2
    slots[2].cached, slots[2].used = [3], 3
    second = place(slots, [7, 8])
    assert second is not None
    assert second.slot.index == 1


def test_a_long_conversation_keeps_its_slot_when_another_shares_only_its_beginning() -> None:
    slots = [Slot(0, cached=list(range(300))), Slot(1)]
    where = place(slots, [*range(20), 999])
    assert where is not None
    assert (where.slot.index, where.keep) == (1, 20)
    assert where.source is slots[0]


def test_the_beginning_is_copied_from_a_running_sequence() -> None:
    slots = [running(0, prompt=50, fed=40), Slot(1)]
    where = place(slots, [*range(50), 7])
    assert where is not None
    assert (where.slot.index, where.keep) == (1, 40)
    assert where.source is slots[0]


def test_a_saved_cache_wins_when_it_shares_more() -> None:
    where = place([Slot(0, cached=[1, 2])], [1, 2, 3, 4, 5], parked=[[8], [1, 2, 3, 4]])
    assert where is not None
    assert (where.parked, where.keep) == (1, 4)


def test_no_slot_is_given_when_all_run() -> None:
    assert place([running(0, 5, 5)], [1]) is None


def test_a_sequence_that_may_not_fit_waits_for_the_running_ones_only() -> None:
    slots = [running(0, 10, 10, end=600), Slot(1, cached=[0] * 400)]
    assert fits(slots, 400, 1000)
    assert not fits(slots, 401, 1000)


def test_idle_caches_go_oldest_first_until_there_is_room() -> None:
    slots = [
        Slot(0),
        Slot(1, cached=[1] * 300, used=5),
        Slot(2, cached=[2] * 300, used=4),
        Slot(3, cached=[3] * 300, used=6),
    ]
    where = place(slots, [7, 8])
    assert where is not None
    assert [slot.index for slot in evictions(slots, where, 300, 1000)] == [2]


def test_those_that_write_get_their_token_before_a_long_prompt_gets_its_part() -> None:
    slots = [running(0, 5, 5, written=1), running(1, 400, 0), running(2, 5, 6, written=2)]
    plan = plan_step(slots, 512, 32, 256)
    assert [(part.slot.index, part.count) for part in plan] == [(0, 1), (2, 1), (1, 32)]


def test_a_prompt_alone_gets_the_large_part() -> None:
    plan = plan_step([running(0, 400, 100)], 512, 32, 256)
    assert [(part.start, part.count) for part in plan] == [(100, 256)]


def test_a_short_prompt_is_read_whole_beside_a_long_one() -> None:
    plan = plan_step([running(0, 400, 0), running(1, 20, 0)], 512, 32, 128)
    assert {part.slot.index: part.count for part in plan} == {1: 20, 0: 108}


@given(
    st.lists(st.tuples(st.integers(1, 600), st.integers(0, 599)), min_size=1, max_size=8),
    st.integers(32, 512),
)
def test_a_plan_never_exceeds_the_batch_nor_the_prompt(shapes: list[tuple[int, int]], batch: int) -> None:
    slots = [running(n, prompt, min(fed, prompt - 1)) for n, (prompt, fed) in enumerate(shapes)]
    plan = plan_step(slots, batch, 32, 256)
    assert 0 < sum(part.count for part in plan) <= batch
    for part in plan:
        assert part.slot.sequence is not None
        assert 0 < part.count <= part.slot.sequence.left


def test_the_part_of_a_prompt_follows_the_speed_of_the_machine() -> None:
    slow, fast = Pace(), Pace()
    for _ in range(20):
        slow.observe(32, 1.0)
        fast.observe(128, 0.01)
    assert (slow.chunk(alone=False), slow.chunk(alone=True)) == (32, 128)
    assert (fast.chunk(alone=False), fast.chunk(alone=True)) == (256, 512)


def test_the_loaded_model_serves_in_order_up_to_its_slots() -> None:
    queue = [Waiting("a", "m", 0), Waiting("b", "m", 1)]
    assert choose(queue, loaded="m", active=1, slots=2, now=2) == Admit("a")
    assert choose(queue, loaded="m", active=2, slots=2, now=2) is None


def test_another_model_waits_for_the_running_ones_then_is_swapped_in() -> None:
    queue = [Waiting("a", "other", 0)]
    assert choose(queue, loaded="m", active=1, slots=2, now=1) is None
    assert choose(queue, loaded="m", active=0, slots=2, now=1) == Swap("a")


def test_overtaking_ends_when_the_oldest_has_been_patient() -> None:
    queue = [Waiting("a", "other", 0), Waiting("b", "m", 1)]
    assert choose(queue, loaded="m", active=1, slots=2, now=PATIENCE - 1) == Admit("b")
    assert choose(queue, loaded="m", active=1, slots=2, now=PATIENCE + 1) is None
    assert choose(queue, loaded="m", active=0, slots=2, now=PATIENCE + 1) == Swap("a")
