"""From a conversation to token ids, so that nothing a person or a file says becomes a control token.

Text in messages is quoted: wherever it spells one of the model's markers (`<|im_end|>`), that spelling is
replaced by a random word before the template sees it. The rendering is then split at those words; what the
template wrote is tokenized with control tokens, each quoted spelling without. A conversation without such
spellings is rendered and tokenized in one piece, exactly as the model was trained.

As a template is a program that may glue pieces together, the control tokens that come out are compared
with those of the same conversation whose messages are random words: any difference refuses it.
"""

import functools
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from secai_site.kernel.inference.errors import TemplateFailed
from secai_site.kernel.inference.protocol import ChatMessage
from secai_site.kernel.inference.template import TemplateRenderer, TemplateRenderError


class Vocabulary(Protocol):
    """What is needed of a model; `markers` are its control tokens by id, with their spelling."""

    bos: int
    adds_bos: bool

    @property
    def markers(self) -> Mapping[int, str]: ...
    @property
    def bos_text(self) -> str: ...
    @property
    def end_text(self) -> str: ...
    def tokenize(self, text: str, *, special: bool) -> list[int]: ...


@dataclass(slots=True)
class Quotes:
    """Random words and the spellings they stand for."""

    spellings: dict[str, str] = field(default_factory=dict)

    def word(self, spelling: str) -> str:
        """A new word of letters and digits, which templates neither trim nor escape."""
        word = f"q{secrets.token_hex(16)}z"
        self.spellings[word] = spelling
        return word

    def split(self, text: str) -> list[tuple[str, str | None]]:
        """(text before, quoted spelling or None at the end) pairs."""
        if not self.spellings:
            return [(text, None)]
        parts = re.split("(" + "|".join(self.spellings) + ")", text)
        quoted = [self.spellings[word] for word in parts[1::2]]
        return list(zip(parts[::2], [*quoted, None], strict=True))


def tokens_of_prompt(vocabulary: Vocabulary, prompt: str) -> list[int]:
    """A plain prompt: no control token but the one that begins a text, where the model wants it."""
    return _with_bos(vocabulary, _tokenize_quoted(vocabulary, prompt))


async def tokens_of_messages(
    vocabulary: Vocabulary, renderer: TemplateRenderer, template: str, messages: Sequence[ChatMessage]
) -> list[int]:
    """The prompt of a conversation; raises `TemplateFailed`."""
    try:
        return await _tokens(vocabulary, renderer, template, messages)
    except TemplateRenderError as error:
        # Some families know no system role (and say so by raise_exception): the usual remedy.
        folded = fold_system(messages)
        if error.kind != "template" or folded is None:
            raise
        return await _tokens(vocabulary, renderer, template, folded)


def fold_system(messages: Sequence[ChatMessage]) -> list[ChatMessage] | None:
    """Put a leading system message in front of the user's first; None when there is nothing to fold."""
    if len(messages) < 2 or messages[0].role != "system" or messages[1].role != "user":
        return None
    first = replace(messages[1], content=f"{messages[0].content}\n\n{messages[1].content}")
    return [first, *messages[2:]]


async def _tokens(
    vocabulary: Vocabulary, renderer: TemplateRenderer, template: str, messages: Sequence[ChatMessage]
) -> list[int]:
    quotes, blanks = Quotes(), Quotes()
    pattern = _marker_pattern(tuple(vocabulary.markers.values()))
    quoted = [
        replace(m, content=pattern.sub(lambda found: quotes.word(found[0]), m.content)) for m in messages
    ]
    blank = [replace(m, content=blanks.word("")) if m.content.strip() else m for m in messages]
    text, bare = await renderer.render_each(
        template,
        [quoted, blank],
        bos_token=vocabulary.bos_text,
        eos_token=vocabulary.end_text,
        add_generation_prompt=True,
    )
    tokens: list[int] = []
    structure: list[int] = []
    for plain, spelling in quotes.split(text):
        part = vocabulary.tokenize(plain, special=True) if plain else []
        structure += _markers_of(vocabulary, part)
        tokens += part
        if spelling is not None:
            tokens += _tokenize_quoted(vocabulary, spelling)
    if structure != _markers_of(vocabulary, vocabulary.tokenize(bare, special=True)):
        raise TemplateFailed("a message changes the structure of the conversation in this model's template")
    return _with_bos(vocabulary, tokens)


@functools.lru_cache(maxsize=4)
def _marker_pattern(spellings: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = sorted(set(spellings), key=len, reverse=True)
    return re.compile("|".join(re.escape(spelling) for spelling in longest_first) or r"(?!)")


def _markers_of(vocabulary: Vocabulary, tokens: Sequence[int]) -> list[int]:
    return [token for token in tokens if token in vocabulary.markers]


def _tokenize_quoted(vocabulary: Vocabulary, text: str) -> list[int]:
    """Tokens of `text` as nothing but text; a marker that survives (some vocabularies match user-defined
    tokens always) is taken apart into its characters."""
    tokens = vocabulary.tokenize(text, special=False) if text else []
    markers = vocabulary.markers
    if not any(token in markers for token in tokens):
        return tokens
    apart: list[int] = []
    for token in tokens:
        spelled = (
            [vocabulary.tokenize(c, special=False) for c in markers[token]] if token in markers else None
        )
        apart += [token] if spelled is None else [t for each in spelled for t in each]
    return apart


def _with_bos(vocabulary: Vocabulary, tokens: list[int]) -> list[int]:
    if vocabulary.adds_bos and tokens[:1] != [vocabulary.bos]:
        return [vocabulary.bos, *tokens]
    return tokens
