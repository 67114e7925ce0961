"""The binding to llama.cpp's low-level API: model, context, sampler. Nothing else imports the library.

The library is loaded on first use, so that the process can set its environment before (libgomp reads
GOMP_SPINCOUNT when it is loaded). ctypes gives the interpreter lock away during each call.
"""

import ctypes
import functools
import importlib
import re
import secrets
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from secai_site.kernel.errors import InvalidRequest
from secai_site.kernel.inference.errors import ModelLoadError
from secai_site.kernel.inference.protocol import Sampling

PENALTY_WINDOW: Final = 64  # llama.cpp's own default for repeat penalties
BATCH: Final = 512
LOG_LEVEL_ERROR: Final = 4  # GGML_LOG_LEVEL_ERROR
DECODE_OK: Final = 0
DECODE_NO_ROOM: Final = 1
DECODE_ABORTED: Final = 2

State = ctypes.Array[ctypes.c_uint8]

# Tokens with the look of a role marker, that some converters mark as user-defined instead of control.
_MARKER = re.compile(rb"<[|\xef].*[|\x9c]>", re.DOTALL)


@functools.cache
def library() -> Any:
    """llama.cpp, initialised, with its log reduced to errors on stderr."""
    bound: Any = importlib.import_module("llama_cpp.llama_cpp")
    bound.llama_log_set(_log_callback(bound), None)
    bound.llama_backend_init()
    return bound


@functools.cache
def _log_callback(bound: Any) -> Any:
    def log(level: int, text: bytes, _data: object) -> None:
        if level == LOG_LEVEL_ERROR:
            sys.stderr.write(text.decode("utf-8", "replace"))

    return bound.llama_log_callback(log)


class Model:
    """The weights and the vocabulary. `progress` gets 0 to 1 and stops the loading by returning False.

    Raises `ModelLoadError` when llama.cpp refuses the file or it cannot write text.
    """

    def __init__(self, path: str, progress: Callable[[float], bool]) -> None:
        self._lib = lib = library()
        params = lib.llama_model_default_params()
        callback = lib.llama_progress_callback(lambda value, _data: progress(value))
        params.progress_callback = callback
        self.handle = lib.llama_model_load_from_file(path.encode(), params)
        if not self.handle:
            raise ModelLoadError("the engine cannot read this model, or there is not enough memory for it")
        self.vocab = lib.llama_model_get_vocab(self.handle)
        self.vocab_size: int = lib.llama_vocab_n_tokens(self.vocab)
        if self.vocab_size == 0 or not lib.llama_model_has_decoder(self.handle):
            self.close()
            raise ModelLoadError("this model does not write text")
        self.trained_context: int = lib.llama_model_n_ctx_train(self.handle)
        self.parameters: int = lib.llama_model_n_params(self.handle)
        self.description = self._describe()
        template = lib.llama_model_chat_template(self.handle, None)
        self.template: str | None = template.decode("utf-8", "replace") if template else None
        self.copies_prefix = not (
            lib.llama_model_is_recurrent(self.handle) or lib.llama_model_is_hybrid(self.handle)
        )
        self.bos: int = lib.llama_vocab_bos(self.vocab)
        self.adds_bos = bool(lib.llama_vocab_get_add_bos(self.vocab)) and self.bos >= 0
        self._pieces: dict[int, bytes] = {}
        self._ends: dict[int, bool] = {}

    def _describe(self) -> str:
        buffer = ctypes.create_string_buffer(256)
        self._lib.llama_model_desc(self.handle, buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace")

    def close(self) -> None:
        """Free the weights; contexts made from them must be closed before."""
        if self.handle:
            self._lib.llama_model_free(self.handle)
            self.handle = None

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Token ids of `text`; control tokens in it are recognised only when `special`."""
        data = text.encode()
        room = len(data) + 16
        buffer = (ctypes.c_int32 * room)()
        count = self._lib.llama_tokenize(self.vocab, data, len(data), buffer, room, False, special)
        if count < 0:
            raise InvalidRequest("this text cannot be tokenized")
        return buffer[:count]

    def piece(self, token: int) -> bytes:
        """The bytes that a token adds to the text; none for a control token."""
        known = self._pieces.get(token)
        if known is None:
            known = self._pieces[token] = self._render(token, special=False)
        return known

    def special_text(self, token: int) -> str:
        """How a control token is spelled, such as "<s>"; empty for -1."""
        return self._render(token, special=True).decode("utf-8", "replace") if token >= 0 else ""

    def _render(self, token: int, *, special: bool) -> bytes:
        buffer = ctypes.create_string_buffer(256)
        size = self._lib.llama_token_to_piece(self.vocab, token, buffer, len(buffer), 0, special)
        if size < 0:
            buffer = ctypes.create_string_buffer(-size)
            size = self._lib.llama_token_to_piece(self.vocab, token, buffer, len(buffer), 0, special)
        return buffer.raw[: max(size, 0)]

    def is_end(self, token: int) -> bool:
        """Whether the model ends its answer with this token."""
        known = self._ends.get(token)
        if known is None:
            known = self._ends[token] = bool(self._lib.llama_vocab_is_eog(self.vocab, token))
        return known

    @functools.cached_property
    def end_text(self) -> str:
        """How the end-of-text token is spelled."""
        return self.special_text(self._lib.llama_vocab_eos(self.vocab))

    @functools.cached_property
    def bos_text(self) -> str:
        """How the begin-of-text token is spelled."""
        return self.special_text(self.bos)

    @functools.cached_property
    def markers(self) -> dict[int, str]:
        """The tokens that structure a conversation, by id, with their spelling."""
        lib = self._lib
        found: dict[int, str] = {}
        for token in range(self.vocab_size):
            attributes = lib.llama_vocab_get_attr(self.vocab, token)
            looks = attributes & lib.LLAMA_TOKEN_ATTR_USER_DEFINED and _MARKER.fullmatch(
                self._render(token, special=True)
            )
            if (attributes & lib.LLAMA_TOKEN_ATTR_CONTROL or looks) and (text := self.special_text(token)):
                found[token] = text
        return found


class Context:
    """The key-value cache of `cells` tokens, shared by `slots` sequences, and the one batch object.

    Belongs to one thread, except `abort`, which any thread may call to end a running `decode`.
    """

    def __init__(self, model: Model, *, cells: int, slots: int, threads: int) -> None:
        self._lib = lib = library()
        self._model = model
        params = lib.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_seq_max = cells, BATCH, slots
        if not lib.llama_supports_gpu_offload():
            # On CPUs flash attention is the slower one once a conversation has some length: with 3,000
            # tokens before it a token takes 59 ms with, 17 ms without (2 cores, 135M model). Its scores
            # take memory by the batch, and more than 128 tokens at once are no faster.
            params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
            params.n_ubatch = 128
        params.n_threads = params.n_threads_batch = threads
        params.kv_unified = True  # one conversation may use all cells; copying a prefix costs nothing
        params.no_perf = True
        # llama.cpp asks this callback between graph nodes, hundreds of times a token: too often for Python.
        # strlen is a callback in C that answers "first byte is not zero".
        self._flag = ctypes.create_string_buffer(2)
        strlen = ctypes.CDLL(None).strlen
        params.abort_callback = ctypes.cast(strlen, lib.ggml_abort_callback)
        params.abort_callback_data = ctypes.cast(self._flag, ctypes.c_void_p)
        self.handle = lib.llama_init_from_model(model.handle, params)
        if not self.handle:
            raise ModelLoadError("there is not enough memory for a context of this model")
        self._memory = lib.llama_get_memory(self.handle)
        self._batch = lib.llama_batch_init(BATCH, 0, 1)
        self._tokens, self._positions, self._outputs = (
            self._batch.token,
            self._batch.pos,
            self._batch.logits,
        )
        self._sequences = [self._batch.seq_id[n] for n in range(BATCH)]
        for n in range(BATCH):
            self._batch.n_seq_id[n] = 1

    def close(self) -> None:
        """Free the cache."""
        if self.handle:
            self._lib.llama_batch_free(self._batch)
            self._lib.llama_free(self.handle)
            self.handle = None

    def abort(self) -> None:
        """Make a running `decode` return `DECODE_ABORTED` soon; from any thread."""
        self._flag[0] = b"\x01"

    def decode(self, parts: Sequence[tuple[int, list[int], int, bool]]) -> tuple[int, list[int]]:
        """Feed (sequence, tokens, first position, output wanted for the last) parts in one batch.

        Gives llama_decode's code and, per part, the batch index of its last token.
        """
        tokens, positions, outputs, sequences = self._tokens, self._positions, self._outputs, self._sequences
        n = 0
        lasts: list[int] = []
        for sequence, part, position, wanted in parts:
            for token in part:
                tokens[n] = token
                positions[n] = position
                sequences[n][0] = sequence
                outputs[n] = 0
                n += 1
                position += 1
            outputs[n - 1] = wanted
            lasts.append(n - 1)
        self._batch.n_tokens = n
        code = self._lib.llama_decode(self.handle, self._batch)
        self._flag[0] = b"\0"
        return code, lasts

    def keep(self, sequence: int, count: int) -> int:
        """Forget all but the first `count` tokens of a sequence; gives how many are really left (0 if the
        cache of this model cannot be cut, as with recurrent or sliding-window layers)."""
        lib, memory = self._lib, self._memory
        if count > 0 and lib.llama_memory_seq_rm(memory, sequence, count, -1):
            whole = lib.llama_memory_seq_pos_min(memory, sequence) == 0
            if whole and lib.llama_memory_seq_pos_max(memory, sequence) == count - 1:
                return count
        lib.llama_memory_seq_rm(memory, sequence, -1, -1)
        return 0

    def copy(self, source: int, target: int, count: int) -> int:
        """Let `target` begin with the first `count` tokens of `source`; gives how many it has then."""
        self._lib.llama_memory_seq_rm(self._memory, target, -1, -1)
        if not self._model.copies_prefix:
            return 0
        self._lib.llama_memory_seq_cp(self._memory, source, target, 0, count)
        return self.keep(target, count)

    def save(self, sequence: int) -> State:
        """The state of a sequence, to be kept outside of the cache."""
        size = self._lib.llama_state_seq_get_size(self.handle, sequence)
        buffer: State = (ctypes.c_uint8 * size)()
        self._lib.llama_state_seq_get_data(self.handle, buffer, size, sequence)
        return buffer

    def restore(self, sequence: int, state: State) -> bool:
        """Put a saved state into a sequence; False when there was no room."""
        self._lib.llama_memory_seq_rm(self._memory, sequence, -1, -1)
        return bool(self._lib.llama_state_seq_set_data(self.handle, state, len(state), sequence))

    def logits(self, index: int) -> Any:
        """The C array of `vocab_size` floats for the token at a batch index."""
        return self._lib.llama_get_logits_ith(self.handle, index)


class Sampler:
    """Draws the tokens of one sequence. Raises `InvalidRequest` for a schema that makes no grammar."""

    def __init__(self, model: Model, sampling: Sampling) -> None:
        self._lib = lib = library()
        self._model = model
        self._penalty = sampling.repeat_penalty
        self._grammar: Any = None
        if sampling.json_schema is not None:
            self._grammar = _grammar(model, sampling.json_schema)
        self._chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        for link in _links(lib, sampling):
            lib.llama_sampler_chain_add(self._chain, link)

    def close(self) -> None:
        """Free the C objects."""
        if self._chain:
            self._lib.llama_sampler_free(self._chain)
        if self._grammar:
            self._lib.llama_sampler_free(self._grammar)
        self._chain = self._grammar = None

    def sample(self, context: Context, index: int, recent: Sequence[int]) -> int:
        """The next token after the one at batch `index`; `recent` tokens are penalised."""
        if self._penalty != 1.0:
            self._penalise(context.logits(index), recent)
        token: int = self._lib.llama_sampler_sample(self._chain, context.handle, index)
        if self._grammar:
            token = self._within_grammar(context, index, token)
        return token

    def _penalise(self, logits: Any, recent: Sequence[int]) -> None:
        """llama.cpp's repeat penalty on at most 64 logits, where its own sampler looks up the whole
        vocabulary; ends of answers are spared, as each turn of a chat repeats them."""
        penalty, is_end = self._penalty, self._model.is_end
        for token in set(recent):
            if not is_end(token):
                value = logits[token]
                logits[token] = value / penalty if value > 0 else value * penalty

    def _within_grammar(self, context: Context, index: int, token: int) -> int:
        """`token` if the grammar allows it, else one drawn among those it allows (the rarer, slow way)."""
        lib = self._lib
        array = self._candidates([token], [0.0])
        lib.llama_sampler_apply(self._grammar, ctypes.byref(array))
        if array.data[0].logit == float("-inf"):
            size = self._model.vocab_size
            array = self._candidates(range(size), context.logits(index)[:size])
            lib.llama_sampler_apply(self._grammar, ctypes.byref(array))
            lib.llama_sampler_apply(self._chain, ctypes.byref(array))
            token = array.data[array.selected].id
        lib.llama_sampler_accept(self._grammar, token)
        return token

    def _candidates(self, tokens: Sequence[int], logits: Sequence[float]) -> Any:
        lib = self._lib
        data = (lib.llama_token_data * len(tokens))(
            *((token, logit, 0.0) for token, logit in zip(tokens, logits, strict=True))
        )
        return lib.llama_token_data_array(data, len(tokens), -1, False)


def _links(lib: Any, sampling: Sampling) -> list[Any]:
    """The samplers in llama.cpp's default order; greedy when the temperature is 0."""
    if sampling.temperature == 0:
        return [lib.llama_sampler_init_greedy()]
    seed = secrets.randbits(31) if sampling.seed is None else sampling.seed
    links = [lib.llama_sampler_init_top_k(sampling.top_k)] if sampling.top_k else []
    return [
        *links,
        lib.llama_sampler_init_top_p(sampling.top_p, 1),
        lib.llama_sampler_init_min_p(sampling.min_p, 1),
        lib.llama_sampler_init_temp(sampling.temperature),
        lib.llama_sampler_init_dist(seed),
    ]


def _grammar(model: Model, schema: str) -> Any:
    convert: Any = importlib.import_module("llama_cpp.llama_grammar").json_schema_to_gbnf
    try:
        text: str = convert(schema)
    except Exception as error:  # the converter raises whatever the schema makes it stumble over
        raise InvalidRequest(f"json_schema cannot be followed: {type(error).__name__}") from None
    made = library().llama_sampler_init_grammar(model.vocab, text.encode(), b"root")
    if not made:
        raise InvalidRequest("json_schema cannot be turned into a grammar")
    return made
