"""The binding to llama.cpp's low-level API: the library, a model, a context. `sampler` and `encoder` are the rest
of it; nothing else calls the library.

The library is loaded on first use, so that the process can set its environment before (libgomp reads
GOMP_SPINCOUNT when it is loaded). ctypes gives the interpreter lock away during each call.
"""

import contextlib
import ctypes
import functools
import importlib
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from secai_site.kernel.errors import InvalidRequest
from secai_site.kernel.inference.errors import ModelLoadError, ModelUnloaded, WrongPurpose

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
    """The weights and the vocabulary, from one file or from all its splits in their order.

    `progress` gets 0 to 1 and stops the loading by returning False. Raises `ModelLoadError` when llama.cpp
    refuses the files or there are no words in them. Any thread may ask for tokens until `close`, and gets
    `ModelUnloaded` afterwards; the rest belongs to one thread.
    """

    def __init__(self, paths: Sequence[str], progress: Callable[[float], bool]) -> None:
        self._lib = lib = library()
        self._open = threading.RLock()
        params = lib.llama_model_default_params()
        callback = lib.llama_progress_callback(lambda value, _data: progress(value))
        params.progress_callback = callback
        # Given as a list, other files are never looked for beside them: llama.cpp checks their number and order.
        names = (ctypes.c_char_p * len(paths))(*map(str.encode, paths))
        self.handle = lib.llama_model_load_from_splits(names, len(paths), params)
        if not self.handle:
            raise ModelLoadError("the engine cannot read this model, or there is not enough memory for it")
        self.vocab = lib.llama_model_get_vocab(self.handle)
        self.vocab_size: int = lib.llama_vocab_n_tokens(self.vocab)
        if self.vocab_size == 0:
            self.close()
            raise ModelLoadError("this model has no vocabulary, so it can neither read nor write text")
        self.weight_bytes: int = lib.llama_model_size(self.handle)
        self.trained_context: int = lib.llama_model_n_ctx_train(self.handle)
        self.parameters: int = lib.llama_model_n_params(self.handle)
        self.description = self._describe()
        template = lib.llama_model_chat_template(self.handle, None)
        self.template: str | None = template.decode("utf-8", "replace") if template else None
        self.copies_prefix = not (
            lib.llama_model_is_recurrent(self.handle) or lib.llama_model_is_hybrid(self.handle)
        )
        self.bos: int = lib.llama_vocab_bos(self.vocab)
        self._eos: int = lib.llama_vocab_eos(self.vocab)
        self.adds_bos = bool(lib.llama_vocab_get_add_bos(self.vocab)) and self.bos >= 0
        self._pieces: dict[int, bytes] = {}
        self._ends: dict[int, bool] = {}

    def _describe(self) -> str:
        buffer = ctypes.create_string_buffer(256)
        self._lib.llama_model_desc(self.handle, buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace")

    def close(self) -> None:
        """Free the weights; contexts made from them must be closed before."""
        with self._open:
            if self.handle:
                self._lib.llama_model_free(self.handle)
                self.handle = None

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """Keep another thread from freeing the vocabulary meanwhile."""
        with self._open:
            if not self.handle:
                raise ModelUnloaded("the model was unloaded meanwhile")
            yield

    def tokenize(self, text: str, *, special: bool, framed: bool = False) -> list[int]:
        """Token ids of `text`; control tokens in it are recognised only when `special`.

        `framed`: between the tokens that begin and end a text, as the model wants them.
        """
        data = text.encode()
        room = len(data) + 16
        buffer = (ctypes.c_int32 * room)()
        with self._held():
            count = self._lib.llama_tokenize(self.vocab, data, len(data), buffer, room, framed, special)
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
        with self._held():
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
        return self.special_text(self._eos)

    @functools.cached_property
    def bos_text(self) -> str:
        """How the begin-of-text token is spelled."""
        return self.special_text(self.bos)

    @functools.cached_property
    def markers(self) -> dict[int, str]:
        """The tokens that structure a conversation, by id, with their spelling."""
        with self._held():
            spelled = {
                token: self.special_text(token) for token in range(self.vocab_size) if self._marks(token)
            }
        return {token: text for token, text in spelled.items() if text}

    def _marks(self, token: int) -> bool:
        lib = self._lib
        attributes = lib.llama_vocab_get_attr(self.vocab, token)
        if attributes & lib.LLAMA_TOKEN_ATTR_CONTROL:
            return True
        own = attributes & lib.LLAMA_TOKEN_ATTR_USER_DEFINED
        return bool(own and _MARKER.fullmatch(self._render(token, special=True)))


class Context:
    """The key-value cache of `cells` tokens, shared by `slots` sequences, and the one batch object.

    Belongs to one thread, except `abort`, which any thread may call to end a running `decode`. Raises
    `WrongPurpose` for a model that cannot write text, `ModelLoadError` when there is no room.
    """

    def __init__(self, model: Model, *, cells: int, slots: int, threads: int) -> None:
        self._lib = lib = library()
        self._model = model
        if lib.llama_model_has_encoder(model.handle):
            raise WrongPurpose(
                "this model has an encoder of its own (as T5 has); the engine cannot write with it"
            )
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
        if not self._memory or lib.llama_pooling_type(self.handle) != lib.LLAMA_POOLING_TYPE_NONE:
            lib.llama_free(self.handle)
            raise WrongPurpose("this model reads texts into vectors; it cannot write text")
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
