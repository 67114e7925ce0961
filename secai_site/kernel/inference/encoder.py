"""An embedding model in llama.cpp: weights, and a context that pools a text into one vector."""

import math
from collections.abc import Sequence
from typing import Any, Final

from secai_site.kernel.inference.errors import GenerationFailed, ModelLoadError, ModelUnloaded, WrongPurpose
from secai_site.kernel.inference.llama import Model, library
from secai_site.kernel.inference.protocol import MAX_TEXTS

# Tokens of one text at most. Where a kind of model forbids flash attention, scores take memory by the square:
# 2,048 tokens and 12 heads are 200 MB, and four times as many tokens would be 3 GB.
CONTEXT: Final = 2048
# Tokens after which no further text joins a batch. Each text attends to its whole batch, and a generation waits
# for it: on 2 cores 256 tokens take 0.05 s, and 512 or 1,024 are no faster (all-MiniLM-L6-v2, paragraphs of
# 73 tokens: 65 to 72 in a second, 58 to 67 and 57 to 69).
BATCH: Final = 256


class Encoder:
    """Reads texts into vectors of length 1. Belongs to one thread.

    `context_length` is how many tokens a text may have, with those that frame it; the texts that are read at
    once may have `BATCH` together, or as many as one may have. Raises `ModelLoadError`, or `WrongPurpose` for
    a model that does not say how one vector is made of a text.
    """

    def __init__(self, paths: Sequence[str], *, threads: int) -> None:
        self._lib = library()
        self._model = Model(paths, lambda _progress: True)
        try:
            self._handle: Any = self._make_context(threads)
        except BaseException:
            self._model.close()
            raise
        self._memory = self._lib.llama_get_memory(self._handle)
        self._batch = self._lib.llama_batch_init(self._room, 0, 1)
        self._dimensions: int = self._lib.llama_model_n_embd_out(self._model.handle)

    def _make_context(self, threads: int) -> Any:
        lib, trained = self._lib, self._model.trained_context
        self.context_length = min(trained, CONTEXT) if trained > 0 else CONTEXT
        self._room = max(self.context_length, BATCH)
        params = lib.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = self._room
        params.n_seq_max, params.kv_unified = MAX_TEXTS, True
        params.n_threads = params.n_threads_batch = threads
        params.embeddings = params.no_perf = True
        handle = lib.llama_init_from_model(self._model.handle, params)
        if not handle:
            raise ModelLoadError("there is not enough memory for a context of this model")
        poolings = (lib.LLAMA_POOLING_TYPE_MEAN, lib.LLAMA_POOLING_TYPE_CLS, lib.LLAMA_POOLING_TYPE_LAST)
        if lib.llama_pooling_type(handle) not in poolings:
            lib.llama_free(handle)
            raise WrongPurpose("this model makes no vectors of texts; it is no embedding model")
        return handle

    def close(self) -> None:
        """Free the memory; more than once is fine."""
        if self._handle:
            self._lib.llama_batch_free(self._batch)
            self._lib.llama_free(self._handle)
            self._handle = None
            self._model.close()

    def tokens(self, text: str) -> list[int]:
        """The tokens of a text, framed as the model wants it; nothing in it is a control token."""
        return self._model.tokenize(text, special=False, framed=True)

    def read(self, texts: Sequence[list[int]]) -> list[list[float]]:
        """The vectors of 1 to 64 texts, none of them empty, that fit in one batch.

        Raises `ModelUnloaded` after `close`, `ModelLoadError` when the model computes no usable vector.
        """
        if not self._handle:
            raise ModelUnloaded("the model was unloaded before all texts were read")
        self._fill(texts)
        if self._memory:
            self._lib.llama_memory_clear(self._memory, False)
        code = self._lib.llama_decode(self._handle, self._batch)
        if code != 0:
            raise GenerationFailed(f"the engine could not read the texts (code {code})")
        return [self._vector(sequence) for sequence in range(len(texts))]

    def _fill(self, texts: Sequence[list[int]]) -> None:
        batch, n = self._batch, 0
        for sequence, tokens in enumerate(texts):
            for position, token in enumerate(tokens):
                batch.token[n], batch.pos[n], batch.logits[n] = token, position, 1
                batch.n_seq_id[n], batch.seq_id[n][0] = 1, sequence
                n += 1
        batch.n_tokens = n

    def _vector(self, sequence: int) -> list[float]:
        found = self._lib.llama_get_embeddings_seq(self._handle, sequence)
        values: list[float] = found[: self._dimensions] if found else []
        length = math.sqrt(sum(value * value for value in values))
        if not 0 < length < math.inf:
            raise ModelLoadError("this model computes no usable vector of a text")
        return [value / length for value in values]
