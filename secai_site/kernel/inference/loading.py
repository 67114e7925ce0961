"""A model in memory, with its context and what hangs on them, and how it gets there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from secai_site.kernel.inference import llama
from secai_site.kernel.inference.memory import needed, private_bytes
from secai_site.kernel.inference.scheduler import Slot


@dataclass(frozen=True, slots=True)
class Parked:
    """The cache of a conversation that had to leave its slot."""

    tokens: list[int]
    state: llama.State


@dataclass(slots=True)
class Loaded:
    """A model, its context of `cells` tokens, and everything whose meaning ends with them.

    `memory_bytes`: see `memory.needed`.
    """

    model: llama.Model
    context: llama.Context
    cells: int
    slots: list[Slot]
    memory_bytes: int
    parked: list[Parked] = field(default_factory=list)

    def close(self) -> None:
        """Free the memory."""
        self.context.close()
        self.model.close()


def load(
    paths: Sequence[str], *, context: int, slots: int, threads: int, progress: Callable[[float], bool]
) -> Loaded:
    """Bring a model into memory, with room for at most `context` tokens.

    Raises `ModelLoadError`, or `WrongPurpose` for a model that writes no text; nothing stays in memory then.
    """
    before = private_bytes()
    model = llama.Model(paths, progress)
    with_weights = private_bytes()
    cells = min(context, model.trained_context) if model.trained_context > 0 else context
    try:
        cache = llama.Context(model, cells=cells, slots=slots, threads=threads)
    except BaseException:
        model.close()
        raise
    memory_bytes = needed(
        model.weight_bytes, before=before, with_weights=with_weights, with_context=private_bytes()
    )
    return Loaded(model, cache, cells, [Slot(n) for n in range(slots)], memory_bytes)
