"""GGUF: what is accepted is whole JSON facts, tiles the file, and reads the same by the reference reader."""

import math
import random
import struct
import warnings
from collections.abc import Iterator

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.gguf_reader import GGUFReader

from registry.quarantine.formats.gguf import GgufFile, read_gguf
from registry.quarantine.formats.gguf_types import TENSOR_TYPES
from tests.fuzz.target import INTERESTING, Target, opened, refused
from tests.fuzz.whole import check_model
from tests.support import hostile_models as files

LARGEST_SEED = 4_096
ALIGNMENT = files.text("general.alignment") + struct.pack("<I", files.U32)
# with the type that each should have
KEYS = {
    "general.name": files.STRING, "general.type": files.STRING,
    "general.license": files.STRING, "general.alignment": files.U32, "general.file_type": files.U32,
    "split.count": files.U16, "split.no": files.U16, "split.tensors.count": files.I32,
    "llama.context_length": files.U32, "llama.block_count": files.U32, "llama.embedding_length": files.U32,
    "llama.attention.head_count": files.U32, "llama.attention.head_count_kv": files.ARRAY,
    "llama.attention.sliding_window_pattern": files.ARRAY, "llama.attention.causal": files.BOOL,
    "llama.pooling_type": files.U32, "llama.ssm.inner_size": files.U32, "tokenizer.ggml.model": files.STRING,
    "tokenizer.ggml.tokens": files.ARRAY, "tokenizer.ggml.scores": files.ARRAY,
    "tokenizer.ggml.token_type": files.ARRAY, "tokenizer.chat_template": files.STRING,
    "tokenizer.chat_template.tool_use": files.STRING, "x": files.F64, "x.y": files.I64, "": files.U8,
}  # fmt: skip
TEXTS = ("llama", "bert", "", "a\0b", "ä", "{{ messages }}", "x" * 70, b"\xff")
NUMBERS = (0, 1, 2, 4, 7, 32, 127)
DIMS = (1, 2, 3, 4)


def check(data: bytes) -> bool:
    """Raise on a breach; whether `data` was accepted."""
    found: list[GgufFile] = []
    with opened(data) as (fd,):
        accepted = not refused(lambda: found.append(read_gguf(fd, len(data))), len(data))
    if accepted:
        _check_accepted(found[0], data)
    return check_model(data) or accepted


def _check_accepted(model: GgufFile, data: bytes) -> None:
    part = model.part
    at = part.data_offset
    for tensor in part.tensors:
        assert tensor.offset == at, "tensors do not tile the file"
        at = -(-(tensor.end - part.data_offset) // part.alignment) * part.alignment + part.data_offset
    assert part.tensors[-1].end <= len(data) <= at, "bytes belong to no tensor"
    _check_reference(model, data)


def _check_reference(model: GgufFile, data: bytes) -> None:
    """The reference reader must see the same, where it is sound: it wants the alignment as uint32, takes names that
    begin with “GGUF.” for its own, and knows fewer types of tensors.
    """
    known = {kind.name for kind in GGMLQuantizationType if kind in GGML_QUANT_SIZES}
    if not {tensor.type for tensor in model.part.tensors} <= known or b"GGUF." in data:
        return
    if "general.alignment" in model.part.metadata and ALIGNMENT not in data:
        return
    with opened(data) as (fd,), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reader = GGUFReader(f"/proc/self/fd/{fd}")
    ours = [(one.name, one.dims, one.type, one.offset, one.nbytes) for one in model.part.tensors]
    theirs = [
        (
            one.name,
            tuple(map(int, one.shape)),
            one.tensor_type.name,
            int(one.data_offset),
            int(np.int64(one.n_bytes)),
        )
        for one in reader.tensors
    ]
    assert ours == theirs, "the reference reader sees other tensors"
    keys = {key for key in reader.fields if not key.startswith("GGUF.")}
    assert keys == set(model.part.metadata), "the reference reader sees other keys"


def seeds() -> Iterator[bytes]:
    """Small cases of the generators, sound and hostile."""
    for case in (*files.benign(), *files.hostile()):
        if case.data.startswith(b"GGUF") and len(case.data) <= LARGEST_SEED:
            yield case.data


def build(chance: random.Random) -> bytes:
    """A GGUF of random keys and tensors in which few things are wrong."""
    names = chance.sample(tuple(KEYS), chance.randrange(6))
    keys = [files.ARCHITECTURE, *(_key(chance, name) for name in names)]
    tensors = [_tensor(chance, number) for number in range(chance.randrange(1, 4))]
    return files.Gguf(
        version=chance.choice((2, 3, 3, 3, 1)),
        keys=keys,
        tensors=tensors,
        kv_count=None if chance.random() < 0.95 else chance.choice(INTERESTING),
        tensor_count=None if chance.random() < 0.95 else chance.choice(INTERESTING),
        last_padding=chance.random() < 0.7,
    ).build()


def _key(chance: random.Random, key: str) -> bytes:
    kind = KEYS[key] if chance.random() < 0.8 else chance.choice((*files.LAYOUT, files.STRING, files.ARRAY))
    return files.kv(key, kind, _value(chance, kind))


def _value(chance: random.Random, kind: int) -> object:
    if kind == files.STRING:
        return chance.choice(TEXTS)
    if kind == files.ARRAY:
        inner = chance.choice((files.STRING, files.F32, files.I32, files.U32, files.BOOL, files.U8))
        values = [_value(chance, inner) for _ in range(chance.randrange(5))]
        return files.array(inner, values, count=chance.choice((None,) * 20 + INTERESTING))
    return chance.randrange(2) if kind == files.BOOL else chance.choice(NUMBERS)


def _tensor(chance: random.Random, number: int) -> files.Weights:
    kind = chance.choice((*TENSOR_TYPES, *TENSOR_TYPES, 4, 99))
    _, block, size = TENSOR_TYPES.get(kind, ("", 32, 4))
    dims = [block * chance.choice((1, 2)), *chance.choices(DIMS, k=chance.randrange(3))]
    if chance.random() < 0.1:
        dims[-1] = chance.choice(INTERESTING)
    count = math.prod(dims) // block * size
    data = chance.randbytes(count) if count <= LARGEST_SEED else b""
    return files.Weights(f"blk.{number}.weight", tuple(dims), kind, data=data)


def aligned(data: bytes) -> bytes:
    """The same with its magic and a version that is read."""
    version = data[4] if len(data) > 4 and data[4] in (2, 3) else 3
    return b"GGUF" + struct.pack("<I", version) + data[8:]


TARGET = Target("gguf", check, seeds, build, aligned)
