"""What an inference engine is asked and what it answers: values, and the one Protocol.

Errors come in one of two ways. A generation that fails before its first `Delta` **raises** its
`ServiceError` out of the iterator, so that an HTTP view answers with the right status. Once text was
delivered, it ends with a `Failed` event, so that the text is kept. `EngineDown` is raised at any time.
"""

import math
import os
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from secai_site.kernel.errors import InvalidRequest, ServiceError
from secai_site.kernel.inference.errors import rebuild

ROLES: Final = frozenset({"system", "user", "assistant", "tool"})
MAX_TOKENS: Final = 131_072
MAX_STOPS: Final = 16
MAX_STOP_LENGTH: Final = 256
MAX_SCHEMA_LENGTH: Final = 65_536
MAX_MESSAGES: Final = 4_096
MAX_PARTS: Final = 256  # a worker holds two descriptors of each, and 1,024 are usual
MAX_TEXTS: Final = 64
MAX_TEXT_LENGTH: Final = 65_536

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")

FinishReason = Literal["stop", "length", "cancelled"]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise InvalidRequest(message)


def _require_range(name: str, value: float, low: float, high: float) -> None:
    inside = math.isfinite(value) and low <= value <= high
    _require(inside, f"{name} must lie between {low:g} and {high:g}")


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model as the registry knows it: `path` is absolute or below the worker's models root.

    `parts` are the files of a model that comes in several, in their order, relative to `path`, which is a
    folder then, and `sha256` the digest of the set (`kernel.files.set_digest`); a model in one file has none.
    """

    name: str
    path: str
    sha256: str
    parts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", os.fspath(self.path))
        object.__setattr__(self, "parts", tuple(self.parts))
        _require(_NAME.fullmatch(self.name) is not None, "a model name is 1 to 128 of A-Z a-z 0-9 . _ -")
        _require(_SHA256.fullmatch(self.sha256) is not None, "sha256 is 64 lower-case hex digits")
        _require(bool(self.path) and "\0" not in self.path, "the model path is empty or contains NUL")
        _require(len(self.parts) <= MAX_PARTS, f"a model has at most {MAX_PARTS} parts")
        _require(len(set(self.parts)) == len(self.parts), "a part of a model is named twice")
        plain = all(map(_is_plain_relative, self.parts))
        _require(plain, "a part of a model is a relative path without “..” or control characters")


def _is_plain_relative(path: str) -> bool:
    """No line breaks either: `set_digest` writes one line for each path."""
    return path.isprintable() and not {"", ".", ".."} & set(path.split("/"))


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One turn of a conversation; `role` is one of `ROLES`, as it reaches the template as it is."""

    role: str
    content: str

    def __post_init__(self) -> None:
        _require(self.role in ROLES, f"a role is one of {', '.join(sorted(ROLES))}")


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn; `temperature` 0 is greedy, `seed` None is a fresh random one.

    `repeat_penalty` looks at the last 64 tokens. `json_schema` (a JSON document) restricts the answer to
    matching JSON. Raises `InvalidRequest` when a value is out of range.
    """

    temperature: float = 0.7
    top_p: float = 0.95
    top_k: int = 40
    min_p: float = 0.05
    repeat_penalty: float = 1.1
    seed: int | None = None
    max_tokens: int = 1024
    stop: tuple[str, ...] = ()
    json_schema: str | None = None

    def __post_init__(self) -> None:
        _require_range("temperature", self.temperature, 0, 5)
        _require_range("top_p", self.top_p, 0, 1)
        _require_range("top_k", self.top_k, 0, 100_000)
        _require_range("min_p", self.min_p, 0, 1)
        _require_range("repeat_penalty", self.repeat_penalty, 0.1, 10)
        _require_range("max_tokens", self.max_tokens, 1, MAX_TOKENS)
        if self.seed is not None:
            _require_range("seed", self.seed, 0, 2**32 - 1)
        _require(len(self.stop) <= MAX_STOPS, f"at most {MAX_STOPS} stop strings")
        fitting = all(0 < len(text) <= MAX_STOP_LENGTH for text in self.stop)
        _require(fitting, f"a stop string has 1 to {MAX_STOP_LENGTH} characters")
        schema_fits = self.json_schema is None or len(self.json_schema) <= MAX_SCHEMA_LENGTH
        _require(schema_fits, f"json_schema has at most {MAX_SCHEMA_LENGTH} characters")


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One generation: `messages` through the model's chat template, or a plain `prompt`; exactly one."""

    id: str
    model: ModelFile
    messages: tuple[ChatMessage, ...] | None = None
    prompt: str | None = None
    sampling: Sampling = field(default_factory=Sampling)

    def __post_init__(self) -> None:
        _require(_ID.fullmatch(self.id) is not None, "a generation id is 1 to 128 of A-Z a-z 0-9 _ . : -")
        _require((self.messages is None) != (self.prompt is None), "give either messages or a prompt")
        if self.messages is not None:
            _require(0 < len(self.messages) <= MAX_MESSAGES, f"give 1 to {MAX_MESSAGES} messages")


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """Texts to be read into vectors by an embedding model; none of them may be empty."""

    model: ModelFile
    texts: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "texts", tuple(self.texts))
        _require(0 < len(self.texts) <= MAX_TEXTS, f"give 1 to {MAX_TEXTS} texts")
        fitting = all(text.strip() and len(text) <= MAX_TEXT_LENGTH for text in self.texts)
        _require(fitting, f"a text has 1 to {MAX_TEXT_LENGTH} characters that are not all blank")


@dataclass(frozen=True, slots=True)
class Embeddings:
    """One vector of length 1 for each text, in their order; their scalar product is the cosine similarity.

    `tokens` counts what was read, in all. The values are floats of 32 bits.
    """

    vectors: tuple[tuple[float, ...], ...]
    tokens: int


@dataclass(frozen=True, slots=True)
class State:
    """Where the generation is: `place` in the queue counts from 1, `progress` from 0 to 1."""

    state: Literal["queued", "loading", "reading", "writing"]
    place: int | None = None
    progress: float | None = None


@dataclass(frozen=True, slots=True)
class Delta:
    """The next piece of text; `seq` counts from 0 without gaps."""

    seq: int
    text: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens: of the prompt, of those the ones taken from the cache, and of the answer."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Timings:
    """Milliseconds since the request arrived; `tokens_per_second` counts from the first token on."""

    queued_ms: float = 0.0
    first_token_ms: float = 0.0
    total_ms: float = 0.0
    tokens_per_second: float = 0.0


@dataclass(frozen=True, slots=True)
class Done:
    """The end of a generation that went well or was cancelled."""

    finish_reason: FinishReason
    usage: Usage
    timings: Timings


@dataclass(frozen=True, slots=True)
class Failed:
    """The end of a generation that could not go on; `to_error` gives the exception for it."""

    code: str
    error: str
    status: int = 500
    retry_after: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_error(cls, error: ServiceError) -> "Failed":
        """Describe `error` so that it survives the wire."""
        return cls(error.error_code, error.message, error.http_status, error.retry_after, error.extra)

    def to_error(self) -> ServiceError:
        """Make the exception that this event describes."""
        return rebuild(
            self.code, self.error, status=self.status, retry_after=self.retry_after, extra=self.extra
        )


Event = State | Delta | Done | Failed


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """What is in memory: `parameters` is a count, `description` such as "llama 135M Q4_1".

    `memory_bytes` is what this load needs to run: its weights, be they mapped from the file or copied, the
    key-value cache for `context_length` tokens, and the buffers of the computation (see `memory.needed`).
    """

    name: str
    sha256: str
    context_length: int
    trained_context: int
    parameters: int
    description: str
    has_chat_template: bool
    load_ms: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """The engine at this moment; `memory_bytes` is the worker's resident set, weights included.

    `busy` means that generations hold the engine; `progress` (0 to 1) is set while loading;
    `tokens_per_second` is the recent sum over all sequences, 0.0 before the first token.
    """

    state: Literal["idle", "loading", "busy"]
    pid: int
    model: str | None = None
    sha256: str | None = None
    context_length: int | None = None
    memory_bytes: int = 0
    active: int = 0
    queued: int = 0
    slots: int = 0
    tokens_per_second: float = 0.0
    progress: float | None = None


class Engine(Protocol):
    """A text generator that keeps on when its caller goes away, and a reader of texts into vectors."""

    async def load(self, model: ModelFile) -> LoadedModel:
        """Bring `model` into memory after the running generations; raises Model… errors."""
        ...

    async def unload(self, name: str | None = None) -> None:
        """Free the memory now; generations of that model end as "cancelled". Another name: no effect."""
        ...

    async def embed(self, model: ModelFile, texts: Sequence[str]) -> Embeddings:
        """Read 1 to 64 texts into vectors; the model that generates stays in memory.

        Raises `WrongPurpose` for a model that makes no vectors, `ContextTooLong` when one of the texts has
        more tokens than the model reads at once, `InvalidRequest`, and Model… errors.
        """
        ...

    def generate(self, request: GenerationRequest) -> AsyncIterator[Event]:
        """Start a generation and follow it; leaving the iterator does not stop it."""
        ...

    def attach(self, generation_id: str, after_seq: int = -1) -> AsyncIterator[Event]:
        """Replay the deltas after `after_seq`, then follow live; raises `GenerationUnknown`."""
        ...

    async def cancel(self, generation_id: str) -> bool:
        """Stop it; returns when its sequence has left the batch. False if it was over or unknown."""
        ...

    async def status(self) -> EngineStatus:
        """What the engine does now; answers promptly also while it computes."""
        ...
