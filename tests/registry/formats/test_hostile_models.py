"""Each hostile file is refused for the right reason, quickly, in little memory; each benign one passes."""

import os
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.quarantine.formats.detect import NotAModel, detect
from registry.quarantine.inspect_process import examine
from tests.support.hostile_models import Case, benign, hostile, small_gguf

HOSTILE = list(hostile())
BENIGN = list(benign())
SECONDS = 2.0
BYTES = 512 << 20

Examine = Callable[[bytes], dict[str, object]]


@pytest.fixture
def examined(tmp_path: Path) -> Examine:
    """Write bytes to a file and examine them."""

    def run(data: bytes) -> dict[str, object]:
        path = tmp_path / "model.gguf"
        path.write_bytes(data)
        fd = os.open(path, os.O_RDONLY)
        try:
            return examine(fd, len(data), manifest=True)
        finally:
            os.close(fd)

    return run


def named(case: Case) -> str:
    return case.name.replace("\0", "NUL")


def test_there_are_enough_cases_and_no_two_of_one_name() -> None:
    names = [case.name for case in (*HOSTILE, *BENIGN)]
    assert len(HOSTILE) >= 80
    assert len(BENIGN) >= 12
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("case", BENIGN, ids=named)
def test_a_well_formed_file_passes(case: Case, examined: Examine) -> None:
    answer = examined(case.data)
    assert (answer["verdict"], answer["code"]) == ("pass", "inspector.pass"), answer["reason"]


@pytest.mark.parametrize("case", HOSTILE, ids=named)
def test_a_hostile_file_is_refused_with_its_code(case: Case, examined: Examine) -> None:
    start = time.perf_counter()
    answer = examined(case.data)
    assert time.perf_counter() - start < SECONDS
    assert (answer["verdict"], answer["code"]) == ("refuse", case.code), answer["reason"]
    assert (answer["offset"] is not None) == case.offset
    assert answer["facts"] == {}
    assert answer["manifest"] is None


@pytest.mark.parametrize("case", HOSTILE, ids=named)
def test_the_reason_is_a_sentence_on_one_line(case: Case, examined: Examine) -> None:
    reason = str(examined(case.data)["reason"])
    assert reason[0].isupper() or reason[0] in "“_" or reason.startswith(("general.", "llama.", "tokenizer."))
    assert 15 < len(reason) < 300
    assert reason.isprintable()


def test_memory_stays_bounded_over_all_hostile_files(examined: Examine) -> None:
    tracemalloc.start()
    try:
        for case in HOSTILE:
            examined(case.data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < BYTES


@pytest.mark.parametrize(
    ("count", "words"),
    [
        ("9000000000 tensors", "announces 9,000,000,000 tensors; at most 65,536"),
        ("4097 keys", "at most 4,096"),
    ],
)
def test_the_reason_names_the_number_and_the_limit(count: str, words: str, examined: Examine) -> None:
    case = next(case for case in HOSTILE if case.name == count)
    assert words in str(examined(case.data)["reason"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("git lfs pointer", "Git LFS pointer, not the model"),
        ("pytorch zip renamed", "PyTorch archive"),
        ("pickle protocol 4", "pickle"),
        ("web page", "web page"),
        ("json error", "error message"),
        ("shard", "sharded sets are not supported yet"),
        ("big endian", "big-endian"),
    ],
)
def test_a_common_mistake_is_called_by_its_name(name: str, words: str, examined: Examine) -> None:
    case = next(case for case in HOSTILE if case.name == name)
    assert words in str(examined(case.data)["reason"])


def test_every_prefix_of_a_good_file_is_refused(examined: Examine) -> None:
    whole = small_gguf()
    assert all(examined(whole[:cut])["verdict"] == "refuse" for cut in range(len(whole) - 32))


def test_detection_does_not_look_at_the_name(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(small_gguf())
    with path.open("rb") as file:
        found = detect(file.fileno(), path.stat().st_size)
    assert not isinstance(found, NotAModel)
    assert found.kind == "gguf"


def test_a_size_beyond_the_file_is_an_early_end(tmp_path: Path) -> None:
    path = tmp_path / "shrunk"
    path.write_bytes(small_gguf()[:100])
    with path.open("rb") as file:
        answer = examine(file.fileno(), 10_000, manifest=False)
    assert answer["verdict"] == "refuse"
