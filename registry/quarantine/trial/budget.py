"""How much of the trial this box can do with this model in the time it may take. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from registry.quarantine.trial.asks import Answer, Ask

# Seconds for all questions together; loading comes on top. The bundled model needs 20 of them on two cores.
WALL_S: Final = 900.0
# Characters per token of English text; other scripts have fewer, so prompts are counted as a little longer.
CHARACTERS_PER_TOKEN: Final = 3.0
TEMPLATE_TOKENS: Final = 12
LEAST_TOKENS: Final = 12
FASTEST: Final = 1e6


@dataclass(frozen=True, slots=True)
class Pace:
    """Tokens per second, one question at a time: of a prompt that is read, of an answer that is written."""

    reads: float
    writes: float


@dataclass(frozen=True, slots=True)
class Level:
    """One size of the test: questions up to `rank`, answers of `share` of their tokens, at least twelve."""

    rank: int
    share: float

    def scale(self, asks: Sequence[Ask]) -> list[Ask]:
        """The questions of this size."""
        return [
            replace(ask, tokens=max(int(ask.tokens * self.share), LEAST_TOKENS))
            for ask in asks
            if ask.rank <= self.rank
        ]


LEVELS: Final = (Level(2, 1.0), Level(1, 1.0), Level(1, 0.6), Level(0, 1.0), Level(0, 0.5))


def pace_of(answer: Answer) -> Pace:
    """What one answer says about the box's speed with this model."""
    reads = answer.prompt_tokens / max(answer.first_token_ms / 1000, 1 / FASTEST)
    return Pace(max(reads, 1 / FASTEST), answer.tokens_per_second or reads)


def seconds_for(asks: Sequence[Ask], pace: Pace) -> float:
    """An estimate on the safe side: nothing is cached, no answer ends early, nothing runs side by side."""
    read = sum(len(ask.text) / CHARACTERS_PER_TOKEN + TEMPLATE_TOKENS for ask in asks)
    written = sum(ask.tokens for ask in asks)
    return read / max(pace.reads, 1 / FASTEST) + written / max(pace.writes, 1 / FASTEST)


def fitting(asks: Sequence[Ask], pace: Pace, seconds: float) -> list[Ask] | None:
    """The largest test that fits into `seconds`; None when not even the least does."""
    sizes = (level.scale(asks) for level in LEVELS)
    return next((size for size in sizes if seconds_for(size, pace) <= seconds), None)
