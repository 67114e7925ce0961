"""Each hostile file or set is refused for the right reason, quickly, in little memory; each benign one passes.

All go through the real confined child, as in the product.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from registry.quarantine.formats.detect import NotAModel, detect
from registry.quarantine.inspect import Inspection, Member, inspect_files
from tests.support.hostile_models import Case, benign, hostile, small_gguf
from tests.support.hostile_sets import benign_sets, hostile_sets
from tests.support.peak import peak_of_inspecting
from tests.support.planted import broken_weights, innocent, planted

HOSTILE = [*hostile(), *hostile_sets(), *broken_weights()]
BENIGN = [*benign(), *benign_sets(), *innocent()]
PLANTED = list(planted())
SECONDS = 2.0
KIBIBYTES = 512 << 10

Inspect = Callable[[Case], Inspection]


@pytest.fixture
def inspected(tmp_path: Path) -> Iterator[Inspect]:
    """Write a case to files under names of ours, and inspect them as what they are called."""
    with ExitStack() as opened:

        def run(case: Case) -> Inspection:
            files = case.files if is_set(case) else {"model.gguf": case.data}
            members = []
            for number, (path, data) in enumerate(files.items()):
                place = tmp_path / str(number)
                place.write_bytes(data)
                members.append(Member(path, opened.enter_context(place.open("rb")).fileno()))
            return inspect_files(members, is_set=is_set(case))

        yield run


def is_set(case: Case) -> bool:
    return bool(case.files) or case.code == "set.count"


def named(case: Case) -> str:
    return case.name.encode("unicode_escape").decode()


def case_of(name: str) -> Case:
    return next(case for case in HOSTILE if case.name == name)


def test_there_are_enough_cases_and_no_two_of_one_name() -> None:
    names = [case.name for case in (*HOSTILE, *BENIGN, *PLANTED)]
    assert len(HOSTILE) + len(PLANTED) >= 400
    assert len(BENIGN) >= 50
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("case", BENIGN, ids=named)
def test_a_well_formed_model_passes(case: Case, inspected: Inspect) -> None:
    start = time.perf_counter()
    found = inspected(case)
    assert time.perf_counter() - start < SECONDS
    assert (found.verdict, found.code, found.matches) == ("pass", "inspector.pass", ()), found.reason


@pytest.mark.parametrize("case", HOSTILE, ids=named)
def test_a_hostile_model_is_refused_with_its_code(case: Case, inspected: Inspect) -> None:
    start = time.perf_counter()
    found = inspected(case)
    assert time.perf_counter() - start < SECONDS
    assert (found.verdict, found.code) == ("refuse", case.code), found.reason
    assert (found.offset is not None) == case.offset
    assert (found.format, found.facts, found.manifest, found.matches) == (None, {}, None, ())
    if case.files:
        assert found.file == case.blamed
    assert found.reason[0].isupper() or found.reason.startswith(
        ("“", "general.", "llama.", "tokenizer.", "split.", "weight_map", "__metadata__")
    )
    assert 15 < len(found.reason) < 400
    assert found.reason.isprintable()


@pytest.mark.parametrize("case", PLANTED, ids=named)
def test_what_has_no_business_in_a_model_is_found(case: Case, inspected: Inspect) -> None:
    start = time.perf_counter()
    found = inspected(case)
    assert time.perf_counter() - start < SECONDS
    assert found.passed, found.reason
    assert [match.code for match in found.matches] == [case.code]
    match = found.matches[0]
    assert match.meaning.startswith(("a ", "an ", "the "))
    assert 0 < match.offset < len(case.data)


def test_no_inspection_needs_more_memory_than_allowed(tmp_path: Path) -> None:
    """Every twentieth file; the child's own limit holds for all, and one that met it would be inconclusive."""
    paths = []
    for n, case in enumerate([*hostile(), *benign(), *planted()][::20]):
        paths.append(tmp_path / str(n))
        paths[-1].write_bytes(case.data)
    assert 0 < peak_of_inspecting(*paths) < KIBIBYTES


@pytest.mark.parametrize(
    ("count", "words"),
    [
        ("9000000000 tensors", "announces 9,000,000,000 tensors; at most 65,536"),
        ("4097 keys", "at most 4,096"),
    ],
)
def test_the_reason_names_the_number_and_the_limit(count: str, words: str, inspected: Inspect) -> None:
    assert words in inspected(case_of(count)).reason


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("git lfs pointer", "Git LFS pointer, not the model"),
        ("pytorch zip renamed", "PyTorch archive"),
        ("pickle protocol 4", "pickle"),
        ("web page", "web page"),
        ("json error", "error message"),
        ("shard", "This is part 1 of 3 of a model; drop all parts together"),
        ("big endian", "big-endian"),
        ("gguf without part 2", "drop all parts together"),
        ("two pictures", "a set is all parts of one GGUF model"),
        ("gguf part is a zip", "zip archive (in tiny-Q8_0-00002-of-00003.gguf)"),
        ("Q8_0 scale NaN", "The tensor “blk.0.weight” is broken"),
    ],
)
def test_a_common_mistake_is_called_by_its_name(name: str, words: str, inspected: Inspect) -> None:
    assert words in inspected(case_of(name)).reason


def test_detection_does_not_look_at_the_name(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(small_gguf())
    with path.open("rb") as file:
        found = detect(file.fileno(), path.stat().st_size)
    assert not isinstance(found, NotAModel)
    assert found.kind == "gguf"
