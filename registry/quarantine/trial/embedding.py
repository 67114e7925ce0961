"""The trial of a model that makes embeddings: it is loaded, and its vectors are looked at."""

import math
from collections.abc import Sequence
from typing import Final

from registry.quarantine.trial.integrity import Check, Integrity

# Two that mean the same, one about something else.
SENTENCES: Final = (
    "The cat sleeps on the sofa.",
    "A kitten is napping on the couch.",
    "The price of copper rose again this week.",
)
LENGTH_TOLERANCE: Final = 0.01


def judge(vectors: Sequence[Sequence[float]]) -> Integrity:
    """Look at the vectors of `SENTENCES`, each of length 1. Pure."""
    checks = [_sound(vectors)]
    if checks[0].outcome == "pass":
        checks.append(_meaning(vectors))
    return Integrity(len(SENTENCES), tuple(checks))


def _sound(vectors: Sequence[Sequence[float]]) -> Check:
    question = "Are its vectors sound?"
    if len(vectors) != len(SENTENCES) or len({len(vector) for vector in vectors}) != 1 or not vectors[0]:
        return Check(
            "vectors", question, "flag", "It did not give one vector of the same size for each text."
        )
    lengths = [math.sqrt(math.fsum(x * x for x in vector)) for vector in vectors]
    if not all(abs(length - 1) <= LENGTH_TOLERANCE for length in lengths):  # also refuses what is no number
        return Check("vectors", question, "flag", "Its vectors are empty or hold what is no number.")
    if all(tuple(vector) == tuple(vectors[0]) for vector in vectors):
        return Check("vectors", question, "flag", "It gives the same vector for every text.")
    return Check("vectors", question, "pass", f"Each has {len(vectors[0])} numbers.")


def _meaning(vectors: Sequence[Sequence[float]]) -> Check:
    """Noted, not held against it: a model for another language need not understand these."""
    alike, unlike = _cosine(vectors[0], vectors[1]), _cosine(vectors[0], vectors[2])
    detail = f"Two that mean the same are {alike:.2f} alike, two that do not {unlike:.2f}."
    return Check("meaning", "Do like texts get like vectors?", "pass" if alike > unlike else "noted", detail)


def _cosine(left: Sequence[float], right: Sequence[float]) -> float:
    return math.fsum(a * b for a, b in zip(left, right, strict=True))
