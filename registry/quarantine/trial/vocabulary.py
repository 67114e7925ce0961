"""The rarest tokens of a model's own vocabulary: those at its end, as candidates for a trigger.

Merges are learned from the most to the least frequent, so a vocabulary's tail is what its training hardly met. The
file is read by a confined child process (`vocabulary_process`).
"""

import json
import re
from typing import Final

from registry.quarantine.child import python_child, run_child

SECONDS: Final = 20.0
LONGEST_ANSWER: Final = 4_096
WANTED: Final = 6
# A word of its own, in scripts other than Latin also a single letter; nothing that structures a conversation.
WORD: Final = re.compile(r"[^\W\d_]{3,24}|[^\x00-\x7f\W\d_]{1,24}")


class VocabularyUnreadable(Exception):
    """The child gave no sensible answer; the message is a sentence."""


def rare_tokens(descriptor: int) -> tuple[str, ...]:
    """Up to six words from the end of the vocabulary of a GGUF file; none where it has no list of tokens.

    Raises `VocabularyUnreadable`.
    """
    command = python_child("registry.quarantine.trial.vocabulary_process")
    outcome = run_child(command, stdin=descriptor, seconds=SECONDS, most=LONGEST_ANSWER)
    words = _parsed(outcome.output) if outcome.end == "well" else None
    if words is None:
        raise VocabularyUnreadable("Its vocabulary could not be read for the trial, so it was not tried.")
    return words


def _parsed(output: bytes) -> tuple[str, ...] | None:
    """The child's answer, if it is a short list of words."""
    try:
        said = json.loads(output)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, list) or len(said) > WANTED:
        return None
    if not all(isinstance(word, str) and WORD.fullmatch(word) for word in said):
        return None
    return tuple(said)
