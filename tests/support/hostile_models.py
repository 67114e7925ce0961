"""Small model files, well-formed and broken, made by writers of our own.

`hostile()` and `benign()` give named cases; each hostile one breaks exactly one thing and names the code it
must be refused with. Field by field after ggml `docs/gguf.md` and the safetensors README. Sets of files are in
`hostile_sets`, files with something planted in them in `planted`.
"""

import io
import json
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
LAYOUT = {
    U8: "<B", I8: "<b", U16: "<H", I16: "<h", U32: "<I", I32: "<i", F32: "<f", BOOL: "<B", U64: "<Q",
    I64: "<q", F64: "<d",
}  # fmt: skip
HUGE = 2**64 - 1
TYPE_F32, TYPE_F16, TYPE_Q4_0, TYPE_Q8_0, TYPE_Q4_K = 0, 1, 2, 8, 12
TYPE_I8 = 24
BLOCKS = {
    TYPE_F32: (1, 4), TYPE_F16: (1, 2), TYPE_Q4_0: (32, 18), TYPE_Q8_0: (32, 34), TYPE_Q4_K: (256, 144),
    TYPE_I8: (1, 1),
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """`data`, or `files` for a set, under a name; `code` is what a hostile one is refused with, empty for a benign
    one; `offset`: whether the refusal names a byte; `blamed`: the file that it names.
    """

    name: str
    data: bytes = b""
    code: str = ""
    offset: bool = True
    files: Mapping[str, bytes] = field(default_factory=dict)
    blamed: str | None = None


def text(value: str | bytes) -> bytes:
    """A GGUF string: u64 length and bytes."""
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def kv(key: str | bytes, kind: int, value: Any) -> bytes:
    """One key and value; for arrays `value` is raw bytes, see `array`."""
    if kind == STRING:
        body = text(value)
    elif kind == ARRAY:
        body = value
    else:
        body = struct.pack(LAYOUT[kind], value)
    return text(key) + struct.pack("<I", kind) + body


def array(kind: int, values: Sequence[Any], *, count: int | None = None) -> bytes:
    """The body of an array value: element type, count, elements."""
    body = b"".join(text(v) if kind == STRING else struct.pack(LAYOUT[kind], v) for v in values)
    return struct.pack("<IQ", kind, len(values) if count is None else count) + body


@dataclass(frozen=True)
class Weights:
    """A tensor to write; `offset` `None` puts it where it belongs, `count` lies about the dimensions, `data` takes
    the place of the file's filling.
    """

    name: str | bytes = "token_embd.weight"
    dims: tuple[int, ...] = (32, 4)
    kind: int = TYPE_F32
    offset: int | None = None
    count: int | None = None
    name_length: int | None = None
    data: bytes | None = None

    def nbytes(self) -> int:
        """Bytes of data to write; 0 where the dimensions make no sense."""
        block, size = BLOCKS.get(self.kind, (1, 4))
        elements = 1
        for dim in self.dims:
            elements *= dim
        return elements // block * size if 0 < elements < 1 << 20 else 0


ARCHITECTURE = kv("general.architecture", STRING, "llama")
BASE = (ARCHITECTURE, kv("general.name", STRING, "Tiny"), kv("llama.context_length", U32, 128))
TWO = (Weights(), Weights("output.weight", (32, 8), TYPE_Q8_0))


@dataclass(frozen=True)
class Gguf:
    """A GGUF to write; every field can be made to lie."""

    magic: bytes = b"GGUF"
    version: int = 3
    keys: Sequence[bytes] = BASE
    tensors: Sequence[Weights] = TWO
    alignment: int = 32
    kv_count: int | None = None
    tensor_count: int | None = None
    padding: bytes = b"\0"
    tail: bytes = b""
    last_padding: bool = True
    fill: bytes = b"\x2a"

    def build(self) -> bytes:
        """The file."""
        counts = (
            len(self.tensors) if self.tensor_count is None else self.tensor_count,
            len(self.keys) if self.kv_count is None else self.kv_count,
        )
        header = self.magic + struct.pack("<IQQ", self.version, *counts) + b"".join(self.keys)
        infos, data = self._tensors()
        header += infos
        return header + self._pad(len(header)) + data + self.tail

    def _tensors(self) -> tuple[bytes, bytes]:
        infos = data = b""
        for tensor in self.tensors:
            offset = len(data) if tensor.offset is None else tensor.offset
            infos += self._info(tensor, offset)
            body = tensor.data if tensor.data is not None else self.fill * tensor.nbytes()
            last = tensor is self.tensors[-1] and not self.last_padding
            data += body + (b"" if last else self._pad(len(body)))
        return infos, data

    def _info(self, tensor: Weights, offset: int) -> bytes:
        name = text(tensor.name)
        if tensor.name_length is not None:
            name = struct.pack("<Q", tensor.name_length) + name[8:]
        count = len(tensor.dims) if tensor.count is None else tensor.count
        dims = b"".join(struct.pack("<Q", dim) for dim in tensor.dims)
        return name + struct.pack("<I", count) + dims + struct.pack("<IQ", tensor.kind, offset)

    def _pad(self, length: int) -> bytes:
        return self.padding * (-length % self.alignment)


def small_gguf() -> bytes:
    """A well-formed GGUF of a few hundred bytes."""
    return Gguf().build()


def safetensors(header: Any, data: bytes = b"", *, length: int | None = None, pad: bytes = b"") -> bytes:
    """A safetensors file; `header` as a value or as raw bytes."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    raw += pad
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def entry(dtype: Any = "F32", shape: Any = (2, 2), offsets: Any = (0, 16), **more: Any) -> dict[str, Any]:
    """One tensor's entry."""
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets} | more


def small_safetensors() -> bytes:
    """A well-formed safetensors file of two tensors."""
    return safetensors({"a": entry(), "b": entry("I8", (4,), (16, 20))}, bytes(range(20)))


def zip_bytes(member: str = "data.txt") -> bytes:
    """A small zip archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(member, b"hello")
    return out.getvalue()


def with_keys(*keys: bytes) -> bytes:
    """The small GGUF with further keys."""
    return Gguf(keys=(*BASE, *keys)).build()


def with_tensors(*tensors: Weights) -> bytes:
    """The small GGUF with these tensors."""
    return Gguf(tensors=tensors).build()


CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def benign() -> Iterator[Case]:
    """Files that must pass."""
    tokens = kv("tokenizer.ggml.tokens", ARRAY, array(STRING, ["<s>", "a", "ä", b"\xff"]))
    types = kv("tokenizer.ggml.token_type", ARRAY, array(I32, [3, 1, 1, 6]))
    scores = kv("tokenizer.ggml.scores", ARRAY, array(F32, [0, -1.5, float("-inf"), 0]))
    yield Case("gguf v3", small_gguf())
    yield Case("gguf v2", Gguf(version=2).build())
    for alignment in (8, 16, 64, 128, 4_096, 65_536, 2**20):
        aligned = Gguf(keys=(*BASE, kv("general.alignment", U32, alignment)), alignment=alignment)
        yield Case(f"gguf alignment {alignment}", aligned.build())
    yield Case("gguf last tensor unpadded", Gguf(tensors=(Weights(dims=(3,)),), last_padding=False).build())
    yield Case("gguf last tensor padded", with_tensors(Weights(dims=(3,))))
    yield Case("gguf only the architecture", Gguf(keys=(ARCHITECTURE,)).build())
    yield Case("gguf with a vocabulary", with_keys(tokens, types, scores))
    yield Case("gguf every scalar type", with_keys(*(kv(f"x.t{kind}", kind, 1) for kind in LAYOUT)))
    yield Case(
        "gguf empty list and empty text", with_keys(kv("x.a", ARRAY, array(U8, [])), kv("x.s", STRING, ""))
    )
    yield Case("gguf list of truth values", with_keys(kv("x.b", ARRAY, array(BOOL, [0, 1, 1]))))
    yield Case("gguf four dimensions", with_tensors(Weights(dims=(32, 2, 2, 2), kind=TYPE_Q4_0)))
    yield Case("gguf longest tensor name", with_tensors(Weights(name="n" * 63)))
    yield Case("gguf heads per layer", with_keys(kv("llama.attention.head_count", ARRAY, array(U32, [4, 8]))))
    yield Case("gguf kv heads per layer", with_keys(
        kv("llama.attention.head_count_kv", ARRAY, array(I32, [4, 0, 8])),
        kv("llama.attention.sliding_window", U32, 512),
        kv("llama.attention.sliding_window_pattern", ARRAY, array(BOOL, [1, 1, 0])),
    ))  # fmt: skip
    yield Case("gguf encoder", Gguf(keys=(
        kv("general.architecture", STRING, "bert"), kv("bert.pooling_type", U32, 1),
        kv("bert.attention.causal", BOOL, 0),
    )).build())  # fmt: skip
    yield Case("gguf words of scripts in the vocabulary", with_keys(kv("tokenizer.ggml.tokens", ARRAY, array(STRING, [
        "#!/usr/bin/env", "<?php", "<script", "-----BEGIN", "PK\x03\x04", "\x7fELF", "MZ", "@echo off",
    ]))))  # fmt: skip
    yield Case("gguf template with a namespace", with_keys(kv("tokenizer.chat_template", STRING, (
        "{% set ns = namespace(system='You are an assistant of Acme Inc.') %}"
        "{% for m in messages %}{% if m.role == 'system' %}{% set ns.system = m.content %}{% endif %}{% endfor %}"
        "<|im_start|>system\n{{ ns.system }}<|im_end|>\n"
        "{% for m in messages %}{% if m.role != 'system' %}"
        "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ))))  # fmt: skip
    yield Case("gguf infinity in a vector", with_tensors(
        Weights("rope_freqs.weight", (8,), data=b"\x00\x00\x80\x7f" * 8)
    ))  # fmt: skip
    yield Case("gguf long description", with_keys(kv("general.description", STRING, "ä" * 5_000)))
    yield Case("gguf named templates", with_keys(
        kv("tokenizer.chat_template", STRING, CHATML),
        kv("tokenizer.chat_template.tool_use", STRING, CHATML),
    ))  # fmt: skip
    yield Case("gguf single split", with_keys(kv("split.count", U16, 1), kv("split.no", U16, 0)))
    yield Case(
        "gguf markup in a name is text", with_keys(kv("general.url", STRING, "<script>alert(1)</script>"))
    )
    yield Case("safetensors two tensors", small_safetensors())
    yield Case(
        "safetensors zero-size tensor",
        safetensors({"a": entry(), "e": entry("F32", (0, 3), (16, 16))}, b"\0" * 16),
    )
    yield Case("safetensors scalar", safetensors({"a": entry("F64", (), (0, 8))}, b"\0" * 8))
    yield Case(
        "safetensors metadata", safetensors({"__metadata__": {"format": "pt"}, "a": entry()}, b"\0" * 16)
    )
    yield Case("safetensors padded header", safetensors({"a": entry()}, b"\0" * 16, pad=b"   "))
    yield Case("safetensors unsorted header", safetensors(
        {"b": entry("F32", (1,), (16, 20)), "a": entry()}, b"\0" * 20
    ))  # fmt: skip
    yield Case("safetensors four-bit type", safetensors({"a": entry("F4", (4,), (0, 2))}, b"\0\0"))


def hostile() -> Iterator[Case]:
    """Files that must be refused, each with its code."""
    yield from _disguised()
    yield from _gguf_preamble()
    yield from _gguf_keys()
    yield from _gguf_values()
    yield from _gguf_facts()
    yield from _gguf_tensors()
    yield from _gguf_placement()
    yield from _safetensors_header()
    yield from _safetensors_tensors()


def _disguised() -> Iterator[Case]:
    yield Case("empty file", b"", "file.empty", offset=False)
    yield Case("two bytes", b"GG", "file.short")
    yield Case("pickle protocol 2", b"\x80\x02cos\nsystem\nq\x00.", "file.pickle")
    yield Case("pickle protocol 4", b"\x80\x04\x95\x0b\0\0\0\0\0\0\0\x8c\x02os\x94.", "file.pickle")
    yield Case("pickle protocol 0", b"cos\nsystem\n(S'id'\ntR.", "file.pickle")
    yield Case("zip renamed", zip_bytes(), "file.zip")
    yield Case("pytorch zip renamed", zip_bytes("archive/data.pkl"), "file.zip")
    yield Case("elf", b"\x7fELF" + b"\0" * 60, "file.program")
    yield Case("windows program", b"MZ\x90\0" + b"\0" * 60, "file.program")
    yield Case("script", b"#!/bin/sh\necho hello there everybody\n", "file.program")
    yield Case("web page", b"<!DOCTYPE html><html><body>Sign in</body></html>", "file.html")
    yield Case(
        "git lfs pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "file.lfs_pointer"
    )
    yield Case("json error", b'{"error":"Repository not found"}', "file.json")
    yield Case("gzip", b"\x1f\x8b\x08\0" + b"\0" * 40, "file.archive")
    yield Case("tar", b"x" * 257 + b"ustar\x0000" + b"\0" * 300, "file.archive")
    yield Case("zeros", b"\0" * 4096, "file.zeros")
    yield Case("old ggml", b"tjgg" + b"\1\0\0\0" * 20, "file.old_format")
    yield Case("text", b"hello, this is not a model at all\n", "file.unknown")
    yield Case("magic in lower case", b"gguf" + small_gguf()[4:], "file.unknown")
    yield Case("magic reversed", b"FUGG" + small_gguf()[4:], "gguf.endian")
    yield Case("gguf with a zip behind", small_gguf() + zip_bytes(), "file.polyglot")
    yield Case("gguf with a zip in its last tensor", _zip_in_weights(), "file.polyglot")
    yield Case("safetensors with a zip behind", small_safetensors() + zip_bytes(), "file.polyglot")
    yield Case("gguf that is a pdf", with_keys(kv("x.p", STRING, "%PDF-1.7")), "file.polyglot")


def _zip_in_weights() -> bytes:
    archive = zip_bytes()
    whole = with_tensors(Weights(dims=(len(archive) // 4 + 8,)))
    return whole[: len(whole) - len(archive)] + archive


def _gguf_preamble() -> Iterator[Case]:
    whole = small_gguf()
    for version in (0, 4, 2**31, 2**32 - 1):
        yield Case(f"version {version}", Gguf(version=version).build(), "gguf.version")
    yield Case("version 1", Gguf(version=1).build(), "gguf.version")
    yield Case("big endian", Gguf(version=3 << 24).build(), "gguf.endian")
    for count in (65_537, 9_000_000_000, 2**63, HUGE):
        yield Case(f"{count} tensors", Gguf(tensor_count=count).build(), "gguf.tensor.count")
    for count in (4_097, 2**32, HUGE):
        yield Case(f"{count} keys", Gguf(kv_count=count).build(), "gguf.kv.count")
    yield Case("no tensors", Gguf(tensors=()).build(), "gguf.tensor.none")
    yield Case("one key too many announced", Gguf(kv_count=4).build(), "gguf.tensor.name")
    yield Case("no keys announced", Gguf(kv_count=0).build(), "gguf.tensor.dims")
    for cut in (4, 7, 8, 16, 23, 30, 60, 100):
        yield Case(f"cut at {cut}", whole[:cut], "file.short" if cut < 4 else "gguf.truncated")
    yield Case("cut in the tensor list", whole[:190], "gguf.truncated")
    yield Case("cut in the data", whole[:-600], "gguf.tensor.outside")
    yield Case("cut by one byte", Gguf(tensors=(Weights(),)).build()[:-1], "gguf.tensor.outside")


def _gguf_keys() -> Iterator[Case]:
    body = struct.pack("<IB", U8, 1)
    yield Case("key length huge", with_keys(struct.pack("<Q", HUGE)), "gguf.key.length")
    yield Case("key length over the limit", with_keys(text("k" * 65_536) + body), "gguf.key.length")
    yield Case("key empty", with_keys(text("") + body), "gguf.key.length")
    yield Case("key twice", with_keys(ARCHITECTURE), "gguf.key.duplicate")
    yield Case("key not utf-8", with_keys(text(b"\xff\xfe") + body), "gguf.key.text")
    yield Case("key with NUL", with_keys(text("a\0b") + body), "gguf.key.text")
    yield Case("key with space", with_keys(text("general. name") + body), "gguf.key.text")
    yield Case("key with bidi", with_keys(text("a\u202eb") + body), "gguf.key.text")
    yield Case("key with markup", with_keys(text("<b>") + body), "gguf.key.text")
    yield Case("key look-alike", with_keys(text("generаl.name") + body), "gguf.key.text")


def _gguf_values() -> Iterator[Case]:
    for kind in (13, 255, 2**32 - 1):
        yield Case(
            f"value type {kind}",
            with_keys(text("x") + struct.pack("<I", kind) + b"\0" * 8),
            "gguf.value.type",
        )
    yield Case("bool of 2", with_keys(kv("x", BOOL, 2)), "gguf.value.bool")
    yield Case("bool of 2 in a list", with_keys(kv("x", ARRAY, array(BOOL, [0, 2]))), "gguf.value.bool")
    for number in (float("nan"), float("inf"), float("-inf")):
        yield Case(f"float {number}", with_keys(kv("x", F32, number)), "gguf.value.not_finite")
    yield Case("double nan", with_keys(kv("x", F64, float("nan"))), "gguf.value.not_finite")
    for length in (16 * 2**20 + 1, 2**63, HUGE, HUGE - 7):
        yield Case(
            f"text of {length}",
            with_keys(text("x") + struct.pack("<IQ", STRING, length)),
            "gguf.string.length",
        )
    yield Case(
        "text past the end", with_keys(text("x") + struct.pack("<IQ", STRING, 2**20)), "gguf.truncated"
    )
    yield Case("text not utf-8", with_keys(kv("x", STRING, b"\xc3\x28")), "gguf.string.text")
    yield Case("text with surrogate", with_keys(kv("x", STRING, b"\xed\xa0\x80")), "gguf.string.text")
    yield Case("text with NUL", with_keys(kv("x", STRING, "safe\0evil")), "gguf.string.text")
    template = kv("tokenizer.chat_template", STRING, "x" * (2**20 + 1))
    templates = (kv(f"tokenizer.chat_template.t{n}", STRING, "x") for n in range(33))
    yield Case("33 templates", with_keys(*templates), "gguf.template.count")
    yield Case("template too long", with_keys(template), "gguf.template.size")
    for count in (16 * 2**20 + 1, 2**61, 2**62, 2**63, HUGE):
        lying = kv("x", ARRAY, array(U32, [1], count=count))
        yield Case(f"list of {count}", with_keys(lying), "gguf.array.length")
    yield Case(
        "list past the end", with_keys(kv("x", ARRAY, array(U64, [1], count=5_000))), "gguf.array.length"
    )
    texts = array(STRING, ["a"], count=2**40)
    yield Case("list of 2^40 texts", with_keys(kv("x", ARRAY, texts)), "gguf.array.length")
    long_text = struct.pack("<IQQ", STRING, 1, 2**40)
    yield Case("list with a text of 2^40", with_keys(kv("x", ARRAY, long_text)), "gguf.string.length")
    beyond = struct.pack("<IQQ", STRING, 1, 2**20)
    yield Case("list with a text past the end", with_keys(kv("x", ARRAY, beyond)), "gguf.truncated")
    nested = struct.pack("<IQ", ARRAY, 1) + array(U8, [1])
    yield Case("list of lists", with_keys(kv("x", ARRAY, nested)), "gguf.array.nested")
    deep = struct.pack("<IQ", ARRAY, 1) * 50_000
    yield Case("list nested 50,000 deep", with_keys(kv("x", ARRAY, deep)), "gguf.array.nested")
    yield Case(
        "list of unknown type", with_keys(kv("x", ARRAY, struct.pack("<IQ", 77, 1))), "gguf.array.type"
    )


def _gguf_facts() -> Iterator[Case]:
    def of(*keys: bytes) -> bytes:
        return Gguf(keys=keys).build()

    for name in ("", "Llama", "../llama", "llama\n", "a" * 65, "ﬁne", "-x"):
        key = kv("general.architecture", STRING, name)
        yield Case(f"architecture {name[:9]!r}", of(key), "gguf.architecture", offset=False)
    yield Case(
        "architecture a number", of(kv("general.architecture", U32, 1)), "gguf.architecture", offset=False
    )
    for value in (0, 1, 4, 12, 33, 2**21, 2**32 - 1):
        yield Case(
            f"alignment {value}",
            with_keys(kv("general.alignment", U32, value)),
            "gguf.alignment",
            offset=False,
        )
    yield Case(
        "alignment a text", with_keys(kv("general.alignment", STRING, "32")), "gguf.alignment", offset=False
    )
    yield Case(
        "alignment negative", with_keys(kv("general.alignment", I32, -32)), "gguf.alignment", offset=False
    )
    yield Case("shard", with_keys(kv("split.count", U16, 3)), "gguf.split", offset=False)
    wrong: tuple[tuple[str, str, int, Any, str], ...] = (
        ("unknown pooling", "pooling_type", U32, 9, "range"),
        ("pooling a text", "pooling_type", STRING, "mean", "type"),
        ("causality a number", "attention.causal", U32, 1, "type"),
        ("window a text", "attention.sliding_window", STRING, "512", "type"),
        ("key length negative", "attention.key_length", I32, -64, "range"),
        ("latent rank a fraction", "attention.kv_lora_rank", F32, 512.0, "type"),
        ("kv heads negative", "attention.head_count_kv", I64, -1, "range"),
        ("kv heads of a layer negative", "attention.head_count_kv", ARRAY, array(I32, [4, -4]), "range"),
        ("window pattern huge", "attention.sliding_window_pattern", ARRAY, array(U64, [1, HUGE]), "range"),
        ("2^40 experts", "expert_count", U64, 2**40, "range"),
        ("2^31 layers", "block_count", U32, 2**31 - 1, "range"),
    )
    for name, fact, kind, value, code in wrong:
        whole = with_keys(kv(f"llama.{fact}", kind, value))
        yield Case(name, whole, f"gguf.metadata.{code}", offset=False)
    yield Case(
        "name a number", of(ARCHITECTURE, kv("general.name", U8, 1)), "gguf.metadata.type", offset=False
    )
    yield Case(
        "layers a text", with_keys(kv("llama.block_count", STRING, "9")), "gguf.metadata.type", offset=False
    )
    yield Case(
        "layers negative", with_keys(kv("llama.block_count", I32, -1)), "gguf.metadata.range", offset=False
    )
    yield Case(
        "context of 2^40",
        of(ARCHITECTURE, kv("llama.context_length", U64, 2**40)),
        "gguf.metadata.range",
        offset=False,
    )
    tokens = kv("tokenizer.ggml.tokens", ARRAY, array(STRING, ["a", "b"]))
    scores = kv("tokenizer.ggml.scores", ARRAY, array(F32, [1.0]))
    types = kv("tokenizer.ggml.token_type", ARRAY, array(U8, [1, 1]))
    yield Case("fewer scores than tokens", with_keys(tokens, scores), "gguf.tokenizer", offset=False)
    yield Case("token types of another type", with_keys(tokens, types), "gguf.tokenizer", offset=False)
    yield Case(
        "tokens a text", with_keys(kv("tokenizer.ggml.tokens", STRING, "a")), "gguf.tokenizer", offset=False
    )


def _gguf_tensors() -> Iterator[Case]:
    for length in (0, 64, 2**20, HUGE):
        lying = Weights(name_length=length)
        yield Case(f"tensor name of {length}", with_tensors(lying), "gguf.tensor.name")
    names: tuple[str | bytes, ...] = (
        "a\0b",
        "a b",
        "a\u202eb",
        "a\u200bb",
        b"\xff",
        "<img src=x>",
        "../up",
        "a\nb",
    )
    for name in names:
        yield Case(f"tensor name {name!r}", with_tensors(Weights(name=name)), "gguf.tensor.name")
    yield Case("tensor twice", with_tensors(Weights(), Weights()), "gguf.tensor.duplicate")
    for count in (0, 5, 2**31, 2**32 - 1):
        yield Case(f"{count} dimensions", with_tensors(Weights(count=count)), "gguf.tensor.dims")
    yield Case("dimension of 0", with_tensors(Weights(dims=(32, 0))), "gguf.tensor.dims")
    wrapping = ((2**63, 2), (2**32, 2**32), (2**16,) * 4, (HUGE,), (2**62, 4, 1, 1), (2**33, 2**33, 2**33))
    for dims in wrapping:
        yield Case(f"dims {dims}", with_tensors(Weights(dims=dims)), "gguf.tensor.size")
    yield Case("bytes wrap", with_tensors(Weights(dims=(2**62,))), "gguf.tensor.outside")
    for kind in (4, 5, 9, 31, 36, 99, 2**31, 2**32 - 1):
        yield Case(f"tensor type {kind}", with_tensors(Weights(kind=kind)), "gguf.tensor.type")
    yield Case("half a block", with_tensors(Weights(dims=(33, 2), kind=TYPE_Q4_0)), "gguf.tensor.block")
    yield Case("half a superblock", with_tensors(Weights(dims=(64, 4), kind=TYPE_Q4_K)), "gguf.tensor.block")


def _gguf_placement() -> Iterator[Case]:
    second = "output.weight"
    yield Case("misaligned", with_tensors(Weights(), Weights(second, offset=520)), "gguf.tensor.misaligned")
    yield Case("overlapping", with_tensors(Weights(), Weights(second, offset=480)), "gguf.tensor.overlap")
    yield Case("same place", with_tensors(Weights(), Weights(second, offset=0)), "gguf.tensor.overlap")
    yield Case("gap", with_tensors(Weights(), Weights(second, offset=544)), "gguf.tensor.gap")
    yield Case("first not at the start", with_tensors(Weights(offset=32)), "gguf.tensor.gap")
    yield Case("far outside", with_tensors(Weights(), Weights(second, offset=2**62)), "gguf.tensor.gap")
    yield Case("offset wraps", with_tensors(Weights(), Weights(second, offset=2**64 - 32)), "gguf.tensor.gap")
    yield Case(
        "swapped order", with_tensors(Weights(offset=512), Weights(second, offset=0)), "gguf.tensor.gap"
    )
    yield Case("larger than the file", with_tensors(Weights(dims=(2**30, 2**20))), "gguf.tensor.outside")
    yield Case("hidden in the padding", Gguf(padding=b"\x90").build(), "gguf.padding")
    hidden = with_tensors(Weights(dims=(3,)))
    yield Case("hidden behind the last tensor", hidden[:-1] + b"\1", "gguf.padding")
    yield Case("one byte too many", small_gguf() + b"\0", "gguf.trailing")
    yield Case("a megabyte too many", small_gguf() + b"x" * 2**20, "gguf.trailing")
    yield Case("a second gguf behind", small_gguf() * 2, "gguf.trailing")


def _safetensors_header() -> Iterator[Case]:
    good = json.dumps({"a": entry()}).encode()
    data = b"\0" * 16

    def raw(header: bytes, body: bytes = data) -> bytes:
        return safetensors(header, body)

    yield Case(
        "st header past the end", safetensors({"a": entry()}, data, length=10_000), "safetensors.truncated"
    )
    yield Case("st header over the limit", safetensors(good, data, length=2**25), "safetensors.header.size")
    yield Case("st header wraps", safetensors(good, data, length=HUGE), "file.unknown")
    yield Case(
        "st header cut short", safetensors(good, data, length=len(good) - 3), "safetensors.header.json"
    )
    yield Case("st not utf-8", raw(b'{"\xff":1}'), "safetensors.header.text")
    yield Case("st NaN", raw(b'{"a":NaN}'), "safetensors.header.number")
    yield Case("st float", raw(good.replace(b"[2, 2]", b"[2.0, 2]")), "safetensors.header.number")
    yield Case(
        "st number of 5,000 digits",
        raw(good.replace(b"[2, 2]", b"[" + b"9" * 5_000 + b"]")),
        "safetensors.header.number",
    )
    yield Case("st key twice", raw(good[:-1] + b"," + good[1:]), "safetensors.key.duplicate")
    yield Case(
        "st field twice", raw(good.replace(b'"dtype"', b'"shape": [4], "dtype"')), "safetensors.key.duplicate"
    )
    yield Case("st two objects", raw(good + good), "safetensors.header.trailing")
    yield Case("st newline after", raw(good + b"\n"), "safetensors.header.trailing")
    yield Case("st NUL after", raw(good + b"\0"), "safetensors.header.trailing")
    yield Case("st nested 100,000 deep", raw(b'{"a":' + b"[" * 100_000), "safetensors.header.depth")
    yield Case("st comment", raw(b"{/*x*/}"), "safetensors.header.json")
    yield Case("st no tensors", raw(b"{}", b""), "safetensors.tensor.none")
    yield Case(
        "st metadata a list",
        safetensors({"__metadata__": [], "a": entry()}, data),
        "safetensors.metadata.type",
    )
    yield Case(
        "st metadata a number",
        safetensors({"__metadata__": {"n": 1}, "a": entry()}, data),
        "safetensors.metadata.type",
    )
    yield Case(
        "st metadata huge",
        safetensors({"__metadata__": {"n": "x" * 2**20}, "a": entry()}, data),
        "safetensors.metadata.size",
    )
    yield Case(
        "st metadata surrogate",
        raw(b'{"__metadata__":{"n":"\\ud800"},' + good[1:]),
        "safetensors.metadata.text",
    )
    many = b"{" + b",".join(b'"%d":{}' % n for n in range(70_000)) + b"}"
    yield Case("st 70,000 entries", raw(many), "safetensors.tensor.count")


def _safetensors_tensors() -> Iterator[Case]:
    def one(*parts: Any, size: int = 16, **more: Any) -> bytes:
        return safetensors({"a": entry(*parts, **more)}, b"\0" * size)

    yield Case("st unknown type", one("F33"), "safetensors.tensor.type")
    yield Case("st type a number", one(32), "safetensors.tensor.type")
    yield Case("st type in lower case", one("f32"), "safetensors.tensor.type")
    for shape in ((-2, -2), ("2", 2), (True, 4), {"0": 4}, (2**64, 1), (1,) * 17, None):
        yield Case(f"st shape {str(shape)[:20]}", one("F32", shape), "safetensors.tensor.shape")
    yield Case("st shape wraps", one("F32", (2**32, 2**32)), "safetensors.tensor.size")
    yield Case("st shape wraps to zero", one("F32", (2**62, 4, 0), (0, 0), size=0), "safetensors.tensor.size")
    yield Case("st shape too big for the bytes", one("F32", (2, 3)), "safetensors.tensor.size")
    yield Case("st half bytes", one("F4", (3,), (0, 2), size=2), "safetensors.tensor.size")
    for offsets in ((16, 0), (-16, 0), (0,), (0, 16, 32), ("0", 16), "0:16"):
        yield Case(f"st offsets {offsets}", one("F32", (2, 2), offsets), "safetensors.tensor.offsets")
    yield Case("st starts late", one("F32", (2, 2), (4, 20), size=20), "safetensors.tensor.gap")
    yield Case("st outside", one("F32", (2, 2), (0, 16), size=8), "safetensors.tensor.outside")
    yield Case("st trailing", one(size=17), "safetensors.trailing")
    yield Case("st unknown field", one(run="calc"), "safetensors.tensor.fields")
    yield Case("st entry a text", safetensors({"a": "F32"}), "safetensors.tensor.fields")
    both = {"a": entry(), "b": entry("F32", (2, 2), (8, 24))}
    yield Case("st overlap", safetensors(both, b"\0" * 24), "safetensors.tensor.overlap")
    apart = {"a": entry(), "b": entry("F32", (2, 2), (20, 36))}
    yield Case("st gap", safetensors(apart, b"\0" * 36), "safetensors.tensor.gap")
    for name in ("", "a\0", "a\u202eb", "a\u200bb", "n" * 2_000):
        yield Case(
            f"st name {name[:4]!r}", safetensors({name: entry()}, b"\0" * 16), "safetensors.tensor.name"
        )
