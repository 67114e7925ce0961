"""Small sets of model files, well-formed and broken, in the manner of `hostile_models`."""

import json
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from tests.support.hostile_models import (
    ARCHITECTURE,
    BASE,
    I32,
    STRING,
    U16,
    U32,
    Case,
    Gguf,
    Weights,
    entry,
    kv,
    safetensors,
    small_gguf,
    small_safetensors,
    with_keys,
    zip_bytes,
)

INDEX = "model.safetensors.index.json"
Files = dict[str, bytes]


def shard(
    place: int = 0,
    count: int = 3,
    *,
    tensors: tuple[str, ...] | None = None,
    total: int = 3,
    extra: tuple[bytes, ...] = (),
    version: int = 3,
) -> bytes:
    """One part of a GGUF model; the first has the metadata. Each part has a tensor named after it."""
    split = (
        kv("split.no", U16, place), kv("split.count", U16, count), kv("split.tensors.count", I32, total)
    )  # fmt: skip
    names = (f"blk.{place}.weight",) if tensors is None else tensors
    keys = (*BASE, *extra, *split) if place == 0 else (*split, *extra)
    return Gguf(version=version, keys=keys, tensors=tuple(Weights(name) for name in names)).build()


def called(place: int, count: int = 3, stem: str = "tiny-Q8_0") -> str:
    """The name of a part; `place` counts from 0."""
    return f"{stem}-{place + 1:05d}-of-{count:05d}.gguf"


def gguf_set(count: int = 3, **replaced: bytes) -> Files:
    """A model in `count` parts; `p1=…` puts other bytes in the place of part 1 (from 0)."""
    return {
        called(place, count): replaced.get(f"p{place}", shard(place, count, total=count))
        for place in range(count)
    }


def weights(*names: str) -> bytes:
    """A safetensors file with these tensors, 16 bytes each."""
    header = {name: entry(offsets=(16 * n, 16 * n + 16)) for n, name in enumerate(names)}
    return safetensors(header, bytes(range(16)) * len(names))


def index(mapping: Mapping[str, Any] | None = None, **more: Any) -> bytes:
    """An index of the set below, unless told otherwise."""
    plain = {"a": "one.safetensors", "b": "one.safetensors", "c": "two.safetensors"}
    whole = {"metadata": {"total_size": 48}, "weight_map": plain if mapping is None else mapping} | more
    return json.dumps(whole).encode()


def safetensors_set(**replaced: bytes | None) -> Files:
    """A model in two parts with its index; `one`, `two`, `index` put other bytes in their places, `None` leaves out."""
    files = {
        "one.safetensors": replaced.get("one", weights("a", "b")),
        "two.safetensors": replaced.get("two", weights("c")),
        INDEX: replaced.get("index", index()),
    }
    return {path: data for path, data in files.items() if data is not None}


def benign_sets() -> Iterator[Case]:
    """Sets that must pass."""
    yield Case("gguf in three parts", files=gguf_set())
    yield Case("gguf in two parts", files=gguf_set(2))
    yield Case("gguf in parts, version 2", files={called(n): shard(n, version=2) for n in range(3)})
    yield Case("gguf first part without tensors", files=gguf_set(
        p0=shard(0, tensors=()), p2=shard(2, tensors=("blk.2.weight", "output.weight"))
    ))  # fmt: skip
    yield Case("gguf later part repeats the architecture", files=gguf_set(p1=shard(1, extra=(ARCHITECTURE,))))
    yield Case("gguf parts with several tensors", files={
        called(0, 2): shard(0, 2, tensors=("a", "b"), total=5),
        called(1, 2): shard(1, 2, tensors=("c", "d", "e"), total=5),
    })  # fmt: skip
    yield Case("safetensors in two parts", files=safetensors_set())
    yield Case("safetensors in parts, usual names", files={
        "model-00001-of-00002.safetensors": weights("a"), "model-00002-of-00002.safetensors": weights("b"),
        INDEX: index({"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"},
                     metadata={"total_size": 32.0}),
    })  # fmt: skip
    yield Case("safetensors with what describes it", files=safetensors_set() | {
        "config.json": b'{"architectures": ["LlamaForCausalLM"]}', "vocab.txt": "ä\nb\n".encode(),
        "README.md": b"# A model\n\n    #!/bin/sh\n    <script>alert(1)</script>\n",
    })  # fmt: skip
    yield Case("safetensors index without metadata", files=safetensors_set(
        index=b'{\n  "weight_map": {"a": "one.safetensors", "b": "one.safetensors", "c": "two.safetensors"}\n}\n'
    ))  # fmt: skip
    yield Case(
        "safetensors index off by a conversion",
        files=safetensors_set(index=index(metadata={"total_size": 96})),
    )


def hostile_sets() -> Iterator[Case]:
    """Sets that must be refused, each with its code."""
    yield from _names()
    yield from _kinds()
    yield from _gguf_parts()
    yield from _gguf_claims()
    yield from _safetensors_files()
    yield from _safetensors_index()


def _refused(name: str, files: Files, code: str, *, blamed: str | None = None, offset: bool = False) -> Case:
    return Case(name, code=code, files=files, offset=offset, blamed=blamed)


def _names() -> Iterator[Case]:
    good = weights("a")
    for bad in (
        "../two.safetensors", "/etc/two.safetensors", "a/../two.safetensors", "a//two.safetensors",
        "./two.safetensors", "two.safetensors/", "tw\0o.safetensors", "two\n.safetensors", "two\u202esrotsnefas.",
        "two\u200b.safetensors", "-rf.safetensors", "~root/two.safetensors", "two.safetensors.", " two.safetensors",
        "C:\\two.safetensors", "a\\two.safetensors", "x" * 256 + ".safetensors", "d/" * 600 + "two.safetensors",
        "two\udc80.safetensors", "", "two\U000e0041.safetensors",
    ):  # fmt: skip
        yield _refused(f"set name {bad[:24]!r}", {"one.safetensors": good, bad: good}, "set.name")
    for one, other in (
        ("one.safetensors", "ONE.safetensors"), ("é.safetensors", "e\u0301.safetensors"),
        ("stra\u00dfe.json", "STRASSE.json"), ("A/x.json", "a/y.json"), ("a", "a/b"), ("a/b", "a"),
    ):  # fmt: skip
        yield _refused(f"set twins {one!r} {other!r}", {one: good, other: good}, "set.twin")
    yield _refused("set of one file", {"model.gguf": small_gguf()}, "set.count")
    yield _refused("set of no file", {}, "set.count")
    yield _refused("set of 501 files", {f"{n}.json": b"{}" for n in range(501)}, "set.count")


def _kinds() -> Iterator[Case]:
    yield _refused("two pictures", {"a.png": b"\x89PNG", "b.png": b"\x89PNG"}, "set.unknown")
    yield _refused("settings only", {"config.json": b"{}", "vocab.txt": b"a"}, "set.unknown")
    yield _refused(
        "pickled weights", {"config.json": b"{}", "pytorch_model.bin": b"\x80\x02."}, "set.unknown"
    )
    yield _refused("two whole models", {"a.gguf": small_gguf(), "b.gguf": small_gguf()}, "gguf.set.name")
    yield _refused("gguf and a text", gguf_set() | {"README.md": b"hello"}, "gguf.set.name")
    yield _refused("gguf and safetensors", gguf_set(2) | safetensors_set(), "gguf.set.name")


def _gguf_parts() -> Iterator[Case]:
    whole = gguf_set()
    for place in range(3):
        some = {path: data for path, data in whole.items() if path != called(place)}
        yield _refused(f"gguf without part {place + 1}", some, "gguf.set.missing")
    yield _refused("gguf part twice", {**gguf_set(2), called(0, 2, "copy"): shard(0, 2)}, "gguf.set.name")
    yield _refused(
        "gguf of two models", {called(0, 2): shard(0, 2), called(1, 2, "other"): shard(1, 2)}, "gguf.set.name"
    )
    yield _refused(
        "gguf names count too many", {called(n, 4): shard(n) for n in range(3)}, "gguf.set.missing"
    )
    yield _refused(
        "gguf part 0", {called(n - 1, 2): shard(n, 2, total=2) for n in range(2)}, "gguf.set.missing"
    )
    yield _refused(
        "gguf parts in folders", {f"a/{path}": data for path, data in whole.items()}, "gguf.set.name"
    )
    yield _refused("gguf names without numbers", {f"{n}.gguf": shard(n) for n in range(3)}, "gguf.set.name")
    swapped = {called(0): shard(0), called(1): shard(2), called(2): shard(1)}
    yield _refused("gguf parts swapped", swapped, "gguf.set.place", blamed=called(1))
    yield _refused(
        "gguf same part twice under two names", gguf_set(p2=shard(1)), "gguf.set.place", blamed=called(2)
    )
    yield _refused(
        "gguf part is a pickle", gguf_set(p1=b"\x80\x04N."), "file.pickle", blamed=called(1), offset=True
    )
    yield _refused("gguf part is a zip", gguf_set(p1=zip_bytes()), "file.zip", blamed=called(1), offset=True)
    yield _refused("gguf part is empty", gguf_set(p2=b""), "file.empty", blamed=called(2))
    yield _refused(
        "gguf part cut", gguf_set(p2=shard(2)[:-40]), "gguf.tensor.outside", blamed=called(2), offset=True
    )
    yield _refused(
        "gguf part with a rest", gguf_set(p1=shard(1) + b"\1"), "gguf.trailing", blamed=called(1), offset=True
    )
    yield _refused(
        "gguf part is safetensors",
        gguf_set(p1=small_safetensors()),
        "gguf.set.kind",
        blamed=called(1),
        offset=True,
    )


def _gguf_claims() -> Iterator[Case]:
    yield _refused(
        "gguf part is a whole model", gguf_set(p1=small_gguf()), "gguf.set.place", blamed=called(1)
    )
    yield _refused("gguf count lies", gguf_set(p1=shard(1, 4)), "gguf.set.place", blamed=called(1))
    yield _refused("gguf place lies", gguf_set(p1=shard(7)), "gguf.set.place", blamed=called(1))
    yield _refused(
        "gguf tensor count too many", {called(n): shard(n, total=4) for n in range(3)}, "gguf.set.tensors"
    )
    yield _refused(
        "gguf tensor count too few", {called(n): shard(n, total=2) for n in range(3)}, "gguf.set.tensors"
    )
    yield _refused(
        "gguf tensor count differs", gguf_set(p2=shard(2, total=9)), "gguf.set.tensors", blamed=called(2)
    )
    yield _refused(
        "gguf tensor in two parts", gguf_set(p2=shard(2, tensors=("blk.0.weight",))), "gguf.set.duplicate"
    )
    yield _refused(
        "gguf later part without tensors", gguf_set(p1=shard(1, tensors=())), "gguf.tensor.none", blamed=called(1),
        offset=True,
    )  # fmt: skip
    for name, key in (
        ("another architecture", kv("general.architecture", STRING, "qwen2")),
        ("another name", kv("general.name", STRING, "Other")), ("a new general key", kv("general.url", STRING, "x")),
        ("a template", kv("tokenizer.chat_template", STRING, "{{ messages }}")),
        ("another context length", kv("llama.context_length", U32, 9)),
        ("the same context length", kv("llama.context_length", U32, 128)),
    ):  # fmt: skip
        files = gguf_set(p1=shard(1, extra=(key,)))
        yield _refused(f"gguf later part has {name}", files, "gguf.set.metadata", blamed=called(1))
    bare = Gguf(keys=(kv("split.no", U16, 0), kv("split.count", U16, 3), kv("split.tensors.count", I32, 3)),
                tensors=(Weights("blk.0.weight"),)).build()  # fmt: skip
    yield _refused(
        "gguf first part without metadata", gguf_set(p0=bare), "gguf.architecture", blamed=called(0)
    )
    late = {called(0): shard(1), called(1): shard(0), called(2): shard(2)}
    yield _refused("gguf metadata in the second part", late, "gguf.set.place", blamed=called(0))
    negative = with_keys(kv("split.no", I32, -1), kv("split.count", I32, 3))
    yield _refused("gguf place negative", gguf_set(p1=negative), "gguf.metadata.range", blamed=called(1))


def _safetensors_files() -> Iterator[Case]:
    yield _refused("safetensors without an index", safetensors_set(index=None), "safetensors.set.index")
    two = safetensors_set() | {"other.safetensors.index.json": index()}
    yield _refused("safetensors with two indexes", two, "safetensors.set.index")
    yield _refused(
        "safetensors part missing", safetensors_set(two=None), "safetensors.set.missing", blamed=INDEX
    )
    spare = safetensors_set() | {"spare.safetensors": weights("z")}
    yield _refused("safetensors part that no index names", spare, "safetensors.set.foreign", blamed=INDEX)
    for path in ("modeling_llama.py", "run.sh", "pytorch_model.bin", "tokenizer.model", "lib.so", ".gitattributes",
                 "config.json.exe", "sub/config.json", "chat_template.jinja"):  # fmt: skip
        files = safetensors_set() | {path: b"x"}
        yield _refused(f"safetensors beside {path}", files, "safetensors.set.foreign", blamed=path)
    for name, data in (("not text", b"\xff\xfe\x00"), ("a zip", zip_bytes()), ("cut text", b"ab\xc3")):
        files = safetensors_set() | {"config.json": data}
        yield _refused(
            f"safetensors config is {name}",
            files,
            "safetensors.set.beside",
            blamed="config.json",
            offset=True,
        )
    yield _refused(
        "safetensors part is a gguf", safetensors_set(two=small_gguf()), "safetensors.set.kind",
        blamed="two.safetensors", offset=True,
    )  # fmt: skip
    yield _refused(
        "safetensors part is a pickle", safetensors_set(two=b"\x80\x04N."), "file.pickle", blamed="two.safetensors",
        offset=True,
    )  # fmt: skip
    yield _refused(
        "safetensors part cut", safetensors_set(two=weights("c")[:-1]), "safetensors.tensor.outside",
        blamed="two.safetensors", offset=True,
    )  # fmt: skip
    yield _refused(
        "safetensors tensor in two parts", safetensors_set(two=weights("c", "a")), "safetensors.set.duplicate",
        blamed="two.safetensors",
    )  # fmt: skip


def _safetensors_index() -> Iterator[Case]:
    def of(name: str, data: bytes, code: str, *, offset: bool = False) -> Case:
        return _refused(f"index {name}", safetensors_set(index=data), code, blamed=INDEX, offset=offset)

    plain = {"a": "one.safetensors", "b": "one.safetensors", "c": "two.safetensors"}
    for path in ("../two.safetensors", "/etc/passwd", "sub/two.safetensors", "..", "..\\two.safetensors",
                 "https://example.org/two.safetensors"):  # fmt: skip
        yield of(f"leads to {path}", index(plain | {"c": path}), "safetensors.index.outside")
    for path in ("three.safetensors", "TWO.safetensors", "", "two.safetensors\0"):
        yield of(f"names {path!r}", index(plain | {"c": path}), "safetensors.set.missing")
    yield of(
        "names a tensor that is not there",
        index(plain | {"d": "two.safetensors"}),
        "safetensors.index.tensor",
    )
    yield of(
        "leaves a tensor out",
        index({"a": "one.safetensors", "c": "two.safetensors"}),
        "safetensors.index.tensor",
    )
    yield of("puts a tensor elsewhere", index(plain | {"b": "two.safetensors"}), "safetensors.index.tensor")
    values: tuple[Any, ...] = (None, 3, [], {"x": "y"})
    for value in values:
        yield of(f"maps to {value!r}", index(plain | {"c": value}), "safetensors.index.fields")
    yield of("maps nothing", index({}), "safetensors.index.count")
    yield of("has a list as map", index(weight_map=[]), "safetensors.index.fields")
    yield of("has another field", index(auto_map="x"), "safetensors.index.fields")
    yield of("has a text as metadata", index(metadata="x"), "safetensors.index.fields")
    for total in (-1, 0, 1, 10**15, "48", True, 1e30):
        yield of(f"total_size {total!r}", index(metadata={"total_size": total}), "safetensors.index.total")
    yield of("total_size 1e999", index().replace(b"48", b"1e999"), "safetensors.index.total")
    yield of("NaN", index().replace(b"48", b"NaN"), "safetensors.index.number", offset=True)
    yield of(
        "number of 5,000 digits",
        index().replace(b"48", b"9" * 5_000),
        "safetensors.index.number",
        offset=True,
    )
    yield of("key twice", index().replace(b'"b"', b'"a"'), "safetensors.index.duplicate", offset=True)
    yield of("cut", index()[:-1], "safetensors.index.json", offset=True)
    yield of("two objects", index() * 2, "safetensors.index.trailing", offset=True)
    yield of("a list", b"[]", "safetensors.index.json", offset=True)
    yield of(
        "nested 100,000 deep", b'{"weight_map":' + b"[" * 100_000, "safetensors.index.depth", offset=True
    )
    yield of("many objects", b'{"a":[' + b"{}," * 99 + b"{}]}", "safetensors.index.json", offset=True)
    yield of("not utf-8", b'{"\xff":1}', "safetensors.index.text", offset=True)
    yield of("empty", b"", "safetensors.index.size")
    yield of("of 17 MiB", b"{" + b" " * (17 << 20) + b"}", "safetensors.index.size")
    yield of("is a shard", struct.pack("<Q", 2) + b"{}", "safetensors.index.json", offset=True)
