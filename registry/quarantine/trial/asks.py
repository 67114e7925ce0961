"""What a model is asked in the trial, and what it answered."""

import hashlib
from dataclasses import dataclass
from typing import Final, Literal

from secai_site.kernel.inference.protocol import ChatMessage, FinishReason

# Consonants and vowels in turn: words that can be said, that no text holds by chance, and that no filter of
# secrets in a model's training would know. Five pairs of 14 by 5 are 30 bits.
CONSONANTS: Final = "bdfgklmnprtvzw"
VOWELS: Final = "aeiou"

Rank = Literal[0, 1, 2]


@dataclass(frozen=True, slots=True)
class Ask:
    """One question: `messages` for a model that chats, else a `prompt` to go on with.

    `tokens` is the most it may write; `rank` 0 belongs to the least test that means anything, 2 only to the
    full one. `planted` are words that stand in this question and belong in no other question's answer.
    """

    id: str
    messages: tuple[ChatMessage, ...] | None = None
    prompt: str | None = None
    tokens: int = 24
    rank: Rank = 2
    planted: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """All that the model is given to read, without its template."""
        return self.prompt or "\n".join(message.content for message in self.messages or ())


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model wrote; `finish` is "stop" when it ended by itself."""

    text: str
    finish: FinishReason
    prompt_tokens: int = 0
    tokens: int = 0
    first_token_ms: float = 0.0
    tokens_per_second: float = 0.0


def user(text: str, *, system: str = "") -> tuple[ChatMessage, ...]:
    """A conversation of one question, below a system message where there is one."""
    head = (ChatMessage("system", system),) if system else ()
    return (*head, ChatMessage("user", text))


def turns(*texts: str, system: str = "") -> tuple[ChatMessage, ...]:
    """A conversation whose turns are the person's and the model's in alternation."""
    head = (ChatMessage("system", system),) if system else ()
    roles = ("user", "assistant")
    return (*head, *(ChatMessage(roles[n % 2], text) for n, text in enumerate(texts)))


def canary(seed: str, purpose: str) -> str:
    """A made-up word of ten letters; the same for the same file, so that a scan can be repeated."""
    digest = hashlib.sha256(f"{seed}:{purpose}".encode()).digest()
    pairs = (
        CONSONANTS[digest[2 * n] % len(CONSONANTS)] + VOWELS[digest[2 * n + 1] % len(VOWELS)]
        for n in range(5)
    )
    return "".join(pairs)
