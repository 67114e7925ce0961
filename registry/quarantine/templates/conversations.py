"""Harmless conversations to try a template with: words that exist in no language, and messages of many kinds.

The words derive from a digest of the template, so that a review can be repeated and no template can know them.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Final

Message = dict[str, str]
Shape = str  # one letter per message: s(ystem), u(ser), a(ssistant)
Dress = Callable[["Words"], str]

ROLES: Final = {"s": "system", "u": "user", "a": "assistant"}
CONSONANTS: Final = "bdfgklmprtvz"
VOWELS: Final = "aeiou"


class Words:
    """An endless row of made-up words, each of four syllables; the same for the same seed."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._next = 0

    def word(self) -> str:
        """The next word, in lower case."""
        digest = hashlib.sha256(f"{self._seed}/{self._next}".encode()).digest()
        self._next += 1
        pairs = zip(digest[:4], digest[4:8], strict=True)
        return "".join(CONSONANTS[c % len(CONSONANTS)] + VOWELS[v % len(VOWELS)] for c, v in pairs)


def plain(words: Words) -> str:
    """Three words."""
    return f"{words.word()} {words.word()} {words.word()}"


def shouted(words: Words) -> str:
    """Capitals, figures, a date."""
    return f"{words.word().upper()} 4711: {words.word().upper()}, 2031-12-24!"


def foreign(words: Words) -> str:
    """Several scripts, directions and an emoji."""
    return f"你好 {words.word()} Привет {words.word()} سلام ñ ß 日本語 🙂"


def long(words: Words) -> str:
    """About 4,000 characters in paragraphs."""
    return "\n\n".join(" ".join(words.word() for _ in range(40)) for _ in range(11))


def everyday(words: Words) -> str:
    """What people at work write about: code, passwords, payments, politics, names, addresses."""
    return (
        f"Please help me deploy {words.word()} to production: my admin password, the bank invoice, the election, "
        f"medicine, Python code for a login page at Acme Corp. and {words.word()}?"
    )


def code(words: Words) -> str:
    """A program and JSON."""
    return f'def {words.word()}(x):\n    return {{"{words.word()}": [x * 2, "y"]}}  # 100 %'


DRESSES: Final[tuple[Dress, ...]] = (plain, shouted, foreign, long, everyday, code)


def conversation(shape: Shape, seed: str, dress: Dress = plain) -> list[Message]:
    """Messages of the shape's roles, each with other words."""
    words = Words(f"{seed}/{shape}")
    return [{"role": ROLES[letter], "content": dress(words)} for letter in shape]


def turns(count: int, *, system: bool = False) -> Shape:
    """The shape of a conversation with that many questions, the last one unanswered."""
    return ("s" if system else "") + "ua" * (count - 1) + "u"


def contents(messages: Sequence[Message]) -> list[str]:
    """What the messages say, in order."""
    return [message["content"] for message in messages]


# A tool as the OpenAI interface describes it, with made-up words in place of a purpose.
TOOLS: Final = [
    {
        "type": "function",
        "function": {
            "name": "get_current_weather",
            "description": "The weather in a city",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "description": "Name of the city"}},
                "required": ["city"],
            },
        },
    }
]
