"""No bytes make a reader fail in a way of its own, take long to refuse them, or fill the memory.

Quick and the same each time; `make fuzz` searches for longer. What each target must keep is said in `tests/fuzz/`.
"""

import gc
import json
import random
import resource
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.quarantine.formats.errors import FormatError
from registry.quarantine.formats.members import Member, check_paths
from registry.quarantine.formats.safetensors import MAX_HEADER, MAX_TENSORS, read_safetensors
from registry.quarantine.formats.zip_archive import read_entries
from tests.fuzz import archive, gguf, index, minisign, pipeline, safetensors
from tests.fuzz.target import INTERESTING, SECONDS, Target, opened
from tests.fuzz.whole import check_model
from tests.support.hostile_models import entry
from tests.support.hostile_models import safetensors as written
from tests.support.zips import Packed, Zip

TARGETS = [one.TARGET for one in (gguf, safetensors, index, pipeline, archive, minisign)]
SEEDS = {target.name: list(target.seeds()) for target in TARGETS}
KEPT = Path(gguf.__file__).parent / "corpus"
MEMORY = 512 << 20
LONG = MAX_HEADER - 100

every_target = pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
briefly = settings(
    derandomize=True, deadline=None, max_examples=100, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture
def in_bounds() -> Iterator[None]:
    """This process may grow by 512 MiB; a reader that wants more gets a MemoryError, which fails the test.

    What other tests have left is kept out of the collector's way: the child that reads starts without it.
    """
    gc.collect()
    gc.freeze()
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)
    gc.unfreeze()


@every_target
def test_sound_seeds_are_accepted_and_broken_ones_are_not(target: Target) -> None:
    accepted = sum(target.check(seed) for seed in SEEDS[target.name])
    assert accepted
    assert accepted < len(SEEDS[target.name]) or target.name in {"pipeline", "minisign"}


@every_target
def test_inputs_that_fuzzing_found_break_nothing(target: Target) -> None:
    kept = sorted((KEPT / target.name).iterdir())
    assert {target.check(path.read_bytes()) for path in kept} == {True, False}


@every_target
def test_any_bytes_are_refused_or_accepted(target: Target) -> None:
    @briefly
    @given(st.binary(max_size=200))
    def hold(data: bytes) -> None:
        assert target.check(data) in (True, False)

    hold()


@every_target
@pytest.mark.usefixtures("in_bounds")
def test_changed_files_are_refused_or_accepted(target: Target) -> None:
    @briefly
    @given(st.sampled_from(SEEDS[target.name]), st.lists(changes, min_size=1, max_size=4))
    def hold(data: bytes, todo: list[tuple[int, int, bytes]]) -> None:
        for at, dropped, put in todo:
            place = at % (len(data) + 1)
            data = data[:place] + put + data[place + dropped :]
        assert target.check(data) in (True, False)

    hold()


numbers = st.builds(
    lambda number, width: (number % (1 << 8 * width)).to_bytes(width, "little"),
    st.sampled_from(INTERESTING),
    st.sampled_from((1, 4, 8)),
)
changes = st.tuples(
    st.integers(0, 4_096), st.sampled_from((0, 1, 4, 8)), st.one_of(numbers, st.binary(max_size=8))
)


@pytest.mark.parametrize("target", [one for one in TARGETS if one.build], ids=lambda target: target.name)
@pytest.mark.usefixtures("in_bounds")
def test_plausible_files_are_refused_or_accepted(target: Target) -> None:
    build = target.build
    assert build is not None
    assert {target.check(build(random.Random(number))) for number in range(200)} == {True, False}


def header(raw: bytes) -> bytes:
    """A safetensors file that is only its header."""
    return struct.pack("<Q", len(raw)) + raw


def odd_type(value: bytes) -> bytes:
    """The header of a tensor with any value for its type."""
    return b'{"a":{"dtype":' + value + b',"shape":[],"data_offsets":[0,0]}}'


MOST = {f"{n:0123}": entry("I8", (1,) * 10, (n, n + 1)) for n in range(MAX_TENSORS)}
COSTLY = {
    "most tensors": (json.dumps(MOST, separators=(",", ":")).encode(), "tensor.outside"),
    "name": (b'{"' + b"a" * LONG + b'":{}}', "tensor.name"),
    "odd name": (b'{"' + b"\xc2\x80" * (LONG // 2) + b'":{}}', "tensor.name"),
    "name twice": (b"{" + b",".join([b'"' + b"a" * (LONG // 2 - 9) + b'":1'] * 2) + b"}", "key.duplicate"),
    "number": (b'{"a":' + b"1" * LONG + b"}", "header.number"),
    "long type": (odd_type(b'"' + b"x" * (LONG - 60) + b'"'), "tensor.type"),
    "list as type": (odd_type(b"[" + b"1," * 1_300_000 + b"1]"), "tensor.type"),
    "longer list as type": (odd_type(b"[" + b"1," * (LONG // 3) + b"1]"), "tensor.count"),
    "lists": (b'{"a":[' + b"[]," * 650_000 + b"1]}", "tensor.fields"),
    "more lists": (b'{"a":[' + b"[]," * (LONG // 3) + b"1]}", "tensor.count"),
    "keys": (b'{"a":{' + b",".join(b'"%x":1' % n for n in range(650_000)) + b"}}", "tensor.fields"),
    "more keys": (b'{"a":{' + b",".join(b'"%x":1' % n for n in range(1_400_000)) + b"}}", "tensor.count"),
}


@pytest.mark.usefixtures("in_bounds")
@pytest.mark.parametrize(("raw", "code"), COSTLY.values(), ids=COSTLY)
def test_a_header_that_is_costly_to_refuse_is_refused_at_once(raw: bytes, code: str) -> None:
    data = header(raw)
    with opened(data) as (fd,):
        assert refusal(lambda: read_safetensors(fd, len(data))).code == f"safetensors.{code}"


def test_a_type_nested_as_deep_as_can_be_is_refused_at_every_depth() -> None:
    codes = {outcome(header(odd_type(b"[" * depth + b"1" + b"]" * depth))) for depth in range(700, 1_100)}
    assert codes == {"safetensors.tensor.type", "safetensors.header.depth"}


def outcome(data: bytes) -> str:
    with opened(data) as (fd,):
        return refusal(lambda: read_safetensors(fd, len(data))).code


@pytest.mark.usefixtures("in_bounds")
@pytest.mark.parametrize("part", ["a/", "\ufdfa/", "\u0344/", "\ufdfa" * 80 + "/"], ids=ascii)
def test_deep_or_swelling_names_in_a_zip_are_refused_at_once(part: str) -> None:
    name = (part * 1_000)[:1_000].encode()
    data = Zip([Packed(b"%04d/" % n + name + b"x", b"", 0, flags=1 << 11) for n in range(600)]).build()
    with opened(data) as (fd,):
        assert refusal(lambda: read_entries(fd, len(data))).code == "archive.name"


@pytest.mark.usefixtures("in_bounds")
@pytest.mark.parametrize("part", ["a/", "\u0344/", "\ufb2c/"], ids=ascii)
def test_deep_names_in_a_set_are_refused_at_once(part: str) -> None:
    members = [Member(f"{n:03d}/{part * 500}x", -1) for n in range(500)]
    assert refusal(lambda: check_paths(members)).code == "set.name"


@pytest.mark.usefixtures("in_bounds")
def test_names_of_the_greatest_depth_are_compared_at_once() -> None:
    folders = ("\ufb2c" * 60 + "/") * 14
    members = [Member(f"{n:03d}/{folders}x", -1) for n in range(500)]
    begun = time.process_time()
    check_paths(members)
    assert time.process_time() - begun <= SECONDS


def test_a_negative_zero_is_refused_because_readers_differ_on_it() -> None:
    raw = b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[-0,1]}}'
    assert outcome(header(raw) + b"x") == "safetensors.header.number"


def test_numbers_whose_squares_overflow_are_measured() -> None:
    data = written({"a": entry("F64", (2, 2), (0, 32))}, np.full(4, 1e200).tobytes())
    assert check_model(data)


def refusal(read: Callable[[], object]) -> FormatError:
    """The refusal by `read`, which must come within two seconds of processor time."""
    begun = time.process_time()
    with pytest.raises(FormatError) as caught:
        read()
    assert time.process_time() - begun <= SECONDS
    return caught.value
