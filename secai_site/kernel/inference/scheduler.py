"""Who gets which part of the next batch, and where a prompt finds its cache: pure, no engine, no clock.

A slot is one sequence id of the context. A finished sequence leaves its tokens in its slot, so that the
next request with the same beginning reuses them.
"""

from collections.abc import Sequence as Items
from dataclasses import dataclass, field
from typing import Final

# Seconds a step may take: while others write, so that they do not stall; alone, so that a newcomer does
# not wait long. Measured on 2 cores: 32 tokens take 0.12 s, and chunks over 128 bring no more speed.
SHARED_STEP: Final = 0.12
ALONE_STEP: Final = 0.40
SHARED_CHUNK: Final = (32, 256)
ALONE_CHUNK: Final = (128, 512)
# A slot whose cache is longer than the common prefix by more than this keeps it; the prefix is copied.
TAIL_WORTH_KEEPING: Final = 64


@dataclass(slots=True)
class Sequence:
    """A running generation: `tokens` is prompt and answer, the first `fed` of them are in the cache."""

    id: str
    tokens: list[int]
    prompt_length: int
    end: int
    fed: int = 0
    cached: int = 0

    @property
    def left(self) -> int:
        """Tokens still to be fed; 1 while it writes."""
        return len(self.tokens) - self.fed

    @property
    def written(self) -> int:
        """Tokens of the answer so far."""
        return len(self.tokens) - self.prompt_length


@dataclass(slots=True)
class Slot:
    """One sequence id of the context: running a sequence, or idle and holding `cached` tokens."""

    index: int
    cached: list[int] = field(default_factory=list)
    sequence: Sequence | None = None
    used: int = 0

    @property
    def held(self) -> list[int]:
        """The tokens whose keys and values are in the cache."""
        return self.cached if self.sequence is None else self.sequence.tokens[: self.sequence.fed]

    @property
    def claim(self) -> int:
        """The cells it needs: those of the whole answer while running, of its cache when idle."""
        return len(self.cached) if self.sequence is None else self.sequence.end


@dataclass(frozen=True, slots=True)
class Portion:
    """Feed `count` tokens of the slot's sequence in the next batch, from index `start` on."""

    slot: Slot
    start: int
    count: int


@dataclass(frozen=True, slots=True)
class Placement:
    """Run in `slot` with the first `keep` tokens cached, taken from slot `source` or entry `parked`."""

    slot: Slot
    keep: int
    source: Slot | None = None
    parked: int | None = None


def common_prefix(left: Items[int], right: Items[int]) -> int:
    """How many tokens both begin with; by bisection on slices, so at C speed."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def place(slots: Items[Slot], tokens: list[int], parked: Items[list[int]] = ()) -> Placement | None:
    """Choose the slot for a prompt: longest common prefix first, then least recently used; None if full.

    At least the last token is always left to feed, as its output is needed.
    """
    idle = sorted((slot for slot in slots if slot.sequence is None), key=lambda slot: slot.used)
    if not idle:
        return None
    usable = tokens[:-1]
    best = max(slots, key=lambda slot: (common_prefix(slot.held, usable), slot.sequence is None))
    keep = common_prefix(best.held, usable)
    entry = max(range(len(parked)), key=lambda n: common_prefix(parked[n], usable), default=None)
    if entry is not None and (saved := common_prefix(parked[entry], usable)) > keep:
        return Placement(_emptiest(idle), saved, parked=entry)
    if keep == 0:
        return Placement(_emptiest(idle), 0)
    others = [slot for slot in idle if slot is not best]
    loses_much = len(best.held) - keep > TAIL_WORTH_KEEPING
    if best.sequence is None and (not loses_much or not others):
        return Placement(best, keep)
    return Placement(_emptiest(others), keep, source=best)


def _emptiest(idle: Items[Slot]) -> Slot:
    """An unused slot, else the least recently used one (`idle` is in that order)."""
    return next((slot for slot in idle if not slot.cached), idle[0])


def fits(slots: Items[Slot], end: int, cells: int) -> bool:
    """Whether a sequence of up to `end` tokens fits beside the running ones; idle caches can go."""
    return end + sum(slot.claim for slot in slots if slot.sequence is not None) <= cells


def evictions(slots: Items[Slot], placement: Placement, end: int, cells: int) -> list[Slot]:
    """The idle slots to empty, least recently used first, until `end` tokens fit in the chosen slot."""
    spare = cells - end - sum(slot.claim for slot in slots if slot is not placement.slot)
    chosen: list[Slot] = []
    spared = (placement.slot, placement.source)
    idle = [slot for slot in slots if slot.sequence is None and slot not in spared and slot.cached]
    for slot in sorted(idle, key=lambda slot: slot.used):
        if spare >= 0:
            break
        chosen.append(slot)
        spare += slot.claim
    return chosen


def plan_step(slots: Items[Slot], batch: int, shared_chunk: int, alone_chunk: int) -> list[Portion]:
    """The next batch: one token of each that writes, then parts of the prompts within the budget.

    Prompts share the budget evenly, so a short one is through after a step or two beside a long one.
    """
    running = [slot for slot in slots if slot.sequence is not None]
    portions: list[Portion] = []
    readers: list[tuple[Slot, Sequence]] = []
    for slot in running:
        sequence = slot.sequence
        if sequence is None:
            continue
        if sequence.left == 1:
            portions.append(Portion(slot, sequence.fed, 1))
        elif sequence.left > 1:
            readers.append((slot, sequence))
    budget = min(shared_chunk if portions else alone_chunk, batch - len(portions))
    readers.sort(key=lambda reader: reader[1].left)
    for done, (slot, sequence) in enumerate(readers):
        count = min(sequence.left, max(budget // (len(readers) - done), 1), budget)
        if count > 0:
            portions.append(Portion(slot, sequence.fed, count))
        budget -= count
    return portions


class Pace:
    """Learns how many prompt tokens fit in a step from the steps that were taken."""

    def __init__(self) -> None:
        self._seconds_per_token = 0.0

    def observe(self, tokens: int, seconds: float) -> None:
        """Take note of a step; small ones say little about prompts and are left out."""
        if tokens < 16:
            return
        each = seconds / tokens
        before = self._seconds_per_token or each
        self._seconds_per_token = 0.7 * before + 0.3 * each

    def chunk(self, *, alone: bool) -> int:
        """Prompt tokens for the next step."""
        low, high = ALONE_CHUNK if alone else SHARED_CHUNK
        target = ALONE_STEP if alone else SHARED_STEP
        if not self._seconds_per_token:
            return low
        return max(low, min(high, int(target / self._seconds_per_token)))
