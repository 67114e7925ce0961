"""Who is next at the engine: pure. One model is in memory; generations wait in order of arrival."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

# While the oldest waits for another model, those for the loaded one may overtake it for this long: it
# saves swaps when requests for two models come mixed, and bounds what the waiting one loses.
PATIENCE: Final = 5.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """A generation in the queue: its id, the sha256 of its model, when it came (seconds)."""

    id: str
    model: str
    since: float


@dataclass(frozen=True, slots=True)
class Admit:
    """Let this one in now."""

    id: str


@dataclass(frozen=True, slots=True)
class Swap:
    """Bring this one's model into memory now; nothing runs."""

    id: str


def choose(
    queue: Sequence[Waiting], *, loaded: str | None, active: int, slots: int, now: float
) -> Admit | Swap | None:
    """What to do next, or None: wait for a slot, or for the running ones to end before a swap."""
    if not queue or active >= slots:
        return None
    head = queue[0]
    if head.model == loaded:
        return Admit(head.id)
    if now - head.since < PATIENCE:
        overtaking = next((each for each in queue if each.model == loaded), None)
        if overtaking is not None:
            return Admit(overtaking.id)
    return Swap(head.id) if active == 0 else None
