"""The validators against the official writers, random damage, and a real model."""

import hashlib
import io
import json
import struct
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gguf as official
import numpy as np
import pytest
import safetensors.numpy as official_safetensors
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from registry.quarantine.formats.errors import FormatError
from registry.quarantine.formats.gguf import GgufFile, GgufPart, read_gguf
from registry.quarantine.formats.gguf_types import TENSOR_TYPES
from registry.quarantine.formats.gguf_values import ArraySummary
from registry.quarantine.formats.manifest import Manifest, leaf_hash, merkle_root
from registry.quarantine.formats.members import Member
from registry.quarantine.formats.model import Model, read_model
from registry.quarantine.formats.safetensors import BITS, read_safetensors
from registry.quarantine.formats.statistics import Statistics
from registry.quarantine.formats.survey import survey
from registry.quarantine.inspect_process import examine
from tests.support.hostile_models import (
    BASE,
    CHATML,
    TWO,
    TYPE_F16,
    TYPE_F32,
    U32,
    Gguf,
    Weights,
    benign,
    kv,
    small_gguf,
    small_safetensors,
)
from tests.support.hostile_sets import called, gguf_set, index, safetensors_set
from tests.support.real_models import chat_model
from tests.support.shards import split


def on_disk(data: bytes) -> io.BufferedRandom:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    file.write(data)
    file.flush()
    return file


def gguf_of(data: bytes) -> GgufFile:
    with on_disk(data) as file:
        return read_gguf(file.fileno(), len(data))


def part_of(data: bytes) -> GgufPart:
    return gguf_of(data).part


class NoRules:
    """Looks at nothing."""

    reach = 4_096

    def scan(self, rules: str, data: bytes, file: str, base: int) -> None:
        assert data[:0] == b""


def read(*files: bytes, paths: Sequence[str] = ()) -> tuple[Model, Manifest]:
    """A model in one file, or in a set under these paths, and its manifest."""
    with ExitStack() as opened:
        members = [
            Member(path, opened.enter_context(on_disk(data)).fileno())
            for path, data in zip(paths or [""], files, strict=True)
        ]
        model = read_model(members, is_set=bool(paths))
        return model, survey(members, model.parts, NoRules(), Statistics(), lambda _share: None)


def manifest_of(*files: bytes, paths: Sequence[str] = ()) -> Manifest:
    return read(*files, paths=paths)[1]


def fingerprint_of(*files: bytes, paths: Sequence[str] = ()) -> str:
    return read(*files, paths=paths)[0].fingerprint


@pytest.fixture(scope="module")
def smollm2() -> Path:
    return chat_model()


def test_the_demo_model_has_the_facts_of_its_card(smollm2: Path) -> None:
    with smollm2.open("rb") as file:
        facts = read_gguf(file.fileno(), smollm2.stat().st_size).facts
    assert (facts.architecture, facts.quantization, facts.license) == ("llama", "Q4_1", "apache-2.0")
    assert (facts.context_length, facts.block_count) == (8_192, 30)
    assert (facts.embedding_length, facts.head_count, facts.memory.head_count_kv) == (576, 9, 3)
    assert (facts.tokenizer_model, facts.tokenizer_size) == ("gpt2", 49_152)
    assert facts.chat_template is not None
    assert "<|im_start|>" in facts.chat_template
    assert facts.notes == ()


def test_the_official_reader_sees_the_same_tensors(smollm2: Path) -> None:
    theirs = official.GGUFReader(smollm2)
    with smollm2.open("rb") as file:
        ours = read_gguf(file.fileno(), smollm2.stat().st_size).part
    assert ours.data_offset == theirs.data_offset
    assert [(t.name, t.dims, t.type, t.offset, t.nbytes) for t in ours.tensors] == [
        (t.name, tuple(map(int, t.shape)), t.tensor_type.name, int(t.data_offset), int(t.n_bytes))
        for t in theirs.tensors
    ]


def test_the_manifest_of_the_demo_model_hashes_file_and_tensors(smollm2: Path) -> None:
    whole = smollm2.read_bytes()
    model, manifest = read(whole)
    (part,), (file,) = model.parts, manifest.files
    assert model.facts["parameters"] == 134_515_008
    assert (file.sha256, file.size_bytes) == (hashlib.sha256(whole).hexdigest(), len(whole))
    assert file.header_sha256 == hashlib.sha256(whole[: part.data_offset]).hexdigest()
    for tensor, digest in list(zip(part.tensors, file.tensors, strict=True))[::40]:
        assert digest.sha256 == hashlib.sha256(whole[tensor.offset : tensor.end]).hexdigest()


def test_types_and_block_sizes_are_those_of_the_official_package() -> None:
    theirs = {int(t): (t.name, *official.GGML_QUANT_SIZES[t]) for t in official.GGML_QUANT_SIZES}
    del theirs[9]  # Q8_1: the package says 40 bytes, ggml-common.h 36, and no file has it
    assert theirs == TENSOR_TYPES


def test_a_file_of_the_official_writer_passes(tmp_path: Path) -> None:
    path = tmp_path / "written.gguf"
    writer = official.GGUFWriter(path, "llama")
    writer.add_context_length(2_048)
    writer.add_head_count([4, 8])
    writer.add_token_list(["<s>", "</s>", "ä"])
    writer.add_token_scores([0.0, 0.0, -1.0])
    writer.add_token_types([3, 3, 1])
    writer.add_custom_alignment(64)
    writer.add_tensor("blk.0.weight", np.ones((3, 5), dtype=np.float32))
    writer.add_tensor("blk.1.weight", np.ones((7,), dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    model = gguf_of(path.read_bytes())
    assert [(t.name, t.dims) for t in model.part.tensors] == [
        ("blk.0.weight", (5, 3)),
        ("blk.1.weight", (7,)),
    ]
    assert (model.part.alignment, model.facts.context_length, model.facts.head_count) == (64, 2_048, None)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "uint64", "bool"])
def test_a_file_of_the_official_safetensors_writer_passes(dtype: str) -> None:
    arrays = {"a": np.ones((3, 5), dtype=dtype), "b.c": np.zeros((0, 2), dtype=dtype)}
    data = official_safetensors.save(arrays, {"format": "np"})
    with on_disk(data) as file:
        model = read_safetensors(file.fileno(), len(data))
    assert {t.name: t.dims for t in model.tensors} == {"a": (3, 5), "b.c": (0, 2)}
    assert (model.parameters, model.metadata) == (15, {"format": "np"})


@pytest.mark.parametrize("case", [c for c in benign() if c.data[:4] == b"GGUF"], ids=lambda c: c.name)
def test_the_official_reader_accepts_what_we_accept(case: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(case.data)
    assert len(official.GGUFReader(path).tensors) == len(part_of(case.data).tensors)


def test_the_official_safetensors_reader_knows_our_types() -> None:
    for dtype, bits in BITS.items():
        header = json.dumps({"a": {"dtype": dtype, "shape": [8], "data_offsets": [0, bits]}}).encode()
        data = struct.pack("<Q", len(header)) + header + bytes(bits)
        with on_disk(data) as file:
            assert read_safetensors(file.fileno(), len(data)).dtype == dtype
        try:
            official_safetensors.load(data)
        except (KeyError, TypeError, AttributeError):
            continue  # known to the format, not to numpy


def test_arrays_are_summarised_and_never_kept() -> None:
    case = next(case for case in benign() if case.name == "gguf with a vocabulary")
    model = gguf_of(case.data)
    tokens = model.part.metadata["tokenizer.ggml.tokens"]
    assert isinstance(tokens, ArraySummary)
    assert (tokens.type, tokens.length, model.facts.tokenizer_size) == ("string", 4, 4)


def test_named_templates_are_found() -> None:
    case = next(case for case in benign() if case.name == "gguf named templates")
    facts = gguf_of(case.data).facts
    assert (facts.chat_template, dict(facts.templates)) == (CHATML, {"tool_use": CHATML})


def test_a_wrong_quantization_label_is_corrected_and_noted() -> None:
    mislabelled = Gguf(keys=(*BASE, kv("general.file_type", U32, 2)), tensors=(Weights(kind=TYPE_F16),))
    facts = gguf_of(mislabelled.build()).facts
    assert facts.quantization == "F16"
    assert facts.notes == ("The header calls itself Q4_0, but most of its weights are F16",)


def test_the_fingerprint_ignores_weights_and_sees_structure() -> None:
    plain = fingerprint_of(small_gguf())
    tuned = fingerprint_of(Gguf(fill=b"\x55").build())
    other_type = fingerprint_of(Gguf(tensors=(Weights(kind=TYPE_F16), TWO[1])).build())
    other_shape = fingerprint_of(Gguf(tensors=(Weights(dims=(32, 5), kind=TYPE_F32), TWO[1])).build())
    assert plain == tuned
    assert len({plain, other_type, other_shape}) == 3


def test_one_flipped_bit_is_found_in_its_tensor() -> None:
    data = bytearray(small_gguf())
    before = manifest_of(bytes(data))
    data[-20] ^= 1  # the last 16 bytes are padding
    after = manifest_of(bytes(data))
    assert before.changed(after) == ["output.weight"]
    assert before.root != after.root
    assert before.files[0].header_sha256 == after.files[0].header_sha256


def test_the_root_of_one_file_is_that_of_its_header_and_tensors() -> None:
    (file,) = manifest_of(small_gguf()).files
    entries: list[list[Any]] = [["header", file.header_sha256]]
    entries += [["tensor", t.name, t.dims, t.type, t.nbytes, t.sha256] for t in file.tensors]
    leaves = [leaf_hash(json.dumps(entry, separators=(",", ":")).encode()) for entry in entries]
    assert manifest_of(small_gguf()).root == merkle_root(leaves).hex()


def test_a_set_has_one_root_over_all_its_files() -> None:
    files = gguf_set()
    whole = manifest_of(*files.values(), paths=list(files))
    backwards = manifest_of(*reversed(files.values()), paths=list(reversed(files)))
    assert whole == backwards
    changed = files | {called(1): files[called(1)].replace(b"\x2a" * 16, b"\x2b" * 16)}
    other = manifest_of(*changed.values(), paths=list(changed))
    assert whole.changed(other) == ["blk.1.weight"]
    assert whole.root != other.root


def test_a_text_beside_the_weights_counts_into_the_root() -> None:
    files = safetensors_set() | {"config.json": b"{}"}
    before = manifest_of(*files.values(), paths=list(files))
    after = manifest_of(*(files | {"config.json": b"[]"}).values(), paths=list(files))
    assert before.root != after.root
    assert before.changed(after) == []


def test_a_model_in_parts_has_the_fingerprint_of_the_whole() -> None:
    parts = gguf_set()
    whole = Gguf(tensors=[Weights(f"blk.{n}.weight") for n in range(3)]).build()
    assert fingerprint_of(*parts.values(), paths=list(parts)) == fingerprint_of(whole)


def test_a_real_model_split_by_the_official_writer_passes(smollm2: Path, tmp_path: Path) -> None:
    names = split(smollm2, tmp_path, tensors_each=100)
    files = [(tmp_path / name).read_bytes() for name in names]
    model, _ = read(*files, paths=names)
    assert (model.facts["parameters"], model.facts["files"]) == (134_515_008, 3)
    assert model.fingerprint == fingerprint_of(smollm2.read_bytes())


def test_a_manifest_survives_a_file(tmp_path: Path) -> None:
    files = gguf_set()
    manifest = manifest_of(*files.values(), paths=list(files))
    manifest.write(tmp_path / "manifest.json")
    assert Manifest.read(tmp_path / "manifest.json") == manifest
    (tmp_path / "manifest.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="manifest"):
        Manifest.read(tmp_path / "manifest.json")


def test_a_manifest_survives_json_and_a_forged_one_does_not() -> None:
    manifest = manifest_of(small_gguf())
    plain = json.loads(json.dumps(manifest.to_json()))
    assert Manifest.from_json(plain) == manifest
    plain["files"][0][4][0][4] = "0" * 64
    with pytest.raises(ValueError, match="root"):
        Manifest.from_json(plain)
    spoilt: tuple[object, ...] = (
        {},
        [],
        None,
        plain | {"more": 1},
        plain | {"root": "x"},
        plain | {"files": [[1]]},
        plain | {"files": []},
    )
    for broken in spoilt:
        with pytest.raises(ValueError, match="manifest"):
            Manifest.from_json(broken)


def test_the_merkle_root_is_that_of_rfc_6962() -> None:
    def split(leaves: list[bytes]) -> bytes:
        """Section 2.1, word for word: split at the largest power of two below n."""
        if len(leaves) == 1:
            return leaves[0]
        k = 1 << ((len(leaves) - 1).bit_length() - 1)
        return hashlib.sha256(b"\1" + split(leaves[:k]) + split(leaves[k:])).digest()

    assert merkle_root([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    for count in range(1, 40):
        leaves = [leaf_hash(bytes([n])) for n in range(count)]
        assert merkle_root(leaves) == split(leaves)


damage = st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 255)), min_size=1, max_size=6)


def damaged(data: bytes, damage: list[tuple[int, int]], cut: int) -> bytes:
    broken = bytearray(data)
    for at, value in damage:
        broken[at % len(broken)] = value
    return bytes(broken[: len(broken) - cut])


def outcome(read: Callable[[int, int], object], data: bytes) -> str:
    """`""` when the file passes, else the code; anything but a `FormatError` fails the test."""
    with on_disk(data) as file:
        try:
            read(file.fileno(), len(data))
        except FormatError as error:
            return error.code
    return ""


@settings(max_examples=400, deadline=None)
@given(damage=damage, cut=st.integers(0, 40))
def test_random_damage_to_a_gguf_never_raises_anything_else(damage: list[tuple[int, int]], cut: int) -> None:
    whole = next(c for c in benign() if c.name == "gguf with a vocabulary").data
    code = outcome(read_gguf, damaged(whole, damage, cut))
    assert code == "" or code.startswith("gguf.")


@settings(max_examples=400, deadline=None)
@given(damage=damage, cut=st.integers(0, 40))
def test_random_damage_to_safetensors_never_raises_anything_else(
    damage: list[tuple[int, int]], cut: int
) -> None:
    code = outcome(read_safetensors, damaged(small_safetensors(), damage, cut))
    assert code == "" or code.startswith("safetensors.")


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=600), st.sampled_from([b"", b"GGUF", b"GGUF\3\0\0\0", b"\x10\0\0\0\0\0\0\0{", b"PK"])
)
def test_any_bytes_have_an_answer(noise: bytes, start: bytes) -> None:
    data = start + noise
    with on_disk(data) as file:
        answer = examine([Member("", file.fileno())], is_set=False, sources={})
    assert (answer["verdict"], answer["facts"]) == ("refuse", {})


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_random_bytes_behind_a_gguf_preamble(noise: bytes) -> None:
    data = b"GGUF" + struct.pack("<IQQ", 3, 1, 2) + noise
    with on_disk(data) as file, pytest.raises(FormatError):
        read_gguf(file.fileno(), len(data))


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda s: st.lists(s) | st.dictionaries(st.text(), s),
    )
)
def test_any_json_as_a_safetensors_header(value: Any) -> None:
    raw = json.dumps({"a": value}).encode()
    data = struct.pack("<Q", len(raw)) + raw
    with on_disk(data) as file, pytest.raises(FormatError):
        read_safetensors(file.fileno(), len(data))


def set_outcome(files: dict[str, bytes]) -> str:
    """`""` when the set passes, else the code; anything but a `FormatError` fails the test."""
    try:
        read(*files.values(), paths=list(files))
    except FormatError as error:
        return error.code
    return ""


@settings(max_examples=200, deadline=None)
@given(which=st.integers(0, 2), damage=damage, cut=st.integers(0, 40))
def test_random_damage_to_a_part_never_raises_anything_else(
    which: int, damage: list[tuple[int, int]], cut: int
) -> None:
    files = gguf_set()
    code = set_outcome(files | {called(which): damaged(files[called(which)], damage, cut)})
    assert code == "" or code.startswith(("gguf.", "file.", "tensor."))


@settings(max_examples=200, deadline=None)
@given(damage=damage, cut=st.integers(0, 40))
def test_random_damage_to_an_index_never_raises_anything_else(
    damage: list[tuple[int, int]], cut: int
) -> None:
    code = set_outcome(safetensors_set(index=damaged(index(), damage, cut)))
    assert code == "" or code.startswith("safetensors.")


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(max_size=40), st.sampled_from([small_gguf(), b"{}", small_safetensors()])))
def test_any_names_have_an_answer(files: dict[str, bytes]) -> None:
    assume(files)
    assert set_outcome(files).startswith(("set.", "gguf.", "safetensors.", "pipeline."))
