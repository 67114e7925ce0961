"""How the next token is drawn, with llama.cpp's samplers."""

import ctypes
import importlib
import secrets
from collections.abc import Sequence
from typing import Any, Final

from secai_site.kernel.errors import InvalidRequest
from secai_site.kernel.inference.llama import Context, Model, library
from secai_site.kernel.inference.protocol import Sampling

PENALTY_WINDOW: Final = 64  # llama.cpp's own default for repeat penalties


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
