"""The child process: what it answers, and that whatever goes wrong with it is `inconclusive`."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from registry.quarantine import inspect, rules
from registry.quarantine.inspect import Inspection, Member, inspect_file, inspect_files
from registry.quarantine.inspect_process import examine
from tests.support.hostile_models import hostile, small_gguf, small_safetensors
from tests.support.hostile_sets import called, gguf_set
from tests.support.peak import peak_of_inspecting
from tests.support.planted import elf, in_weights
from tests.support.real_models import base_model, chat_model, embedding_model


@pytest.fixture
def good(tmp_path: Path) -> Iterator[int]:
    """A descriptor of a well-formed GGUF."""
    path = tmp_path / "model.gguf"
    path.write_bytes(small_gguf())
    fd = os.open(path, os.O_RDONLY)
    yield fd
    os.close(fd)


def child_runs(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Put other Python code in the place of the inspector."""
    monkeypatch.setattr(inspect, "_command", lambda *_: [sys.executable, "-I", "-S", "-c", code])


def child_answers(monkeypatch: pytest.MonkeyPatch, answer: object) -> None:
    child_runs(monkeypatch, f"print({json.dumps(answer)!r})")


def answer_of(data: bytes, path: Path) -> dict[str, object]:
    """A true answer, to be spoilt."""
    path.write_bytes(data)
    with path.open("rb") as file:
        members = [Member("", file.fileno())]
        return examine(members, is_set=False, sources=rules.sources()) | {"sandbox_lacks": []}


def inspected(data: bytes, path: Path) -> Inspection:
    path.write_bytes(data)
    with path.open("rb") as file:
        return inspect_file(file.fileno())


def test_a_good_file_passes_with_facts_and_manifest(good: int) -> None:
    found = inspect_file(good)
    assert found.passed
    assert (found.format, found.facts["architecture"], found.facts["parameters"]) == ("gguf", "llama", 384)
    assert found.manifest is not None
    tensors = found.manifest.files[0].tensors
    assert [tensor.name for tensor in tensors] == ["token_embd.weight", "output.weight"]
    assert (found.statistics["tensors"], found.matches) == (2, ())
    assert found.sandbox_lacks == ()


def test_a_good_safetensors_passes(tmp_path: Path) -> None:
    found = inspected(small_safetensors(), tmp_path / "x.bin")
    assert (found.verdict, found.format, found.facts["quantization"]) == ("pass", "safetensors", "F32")


@pytest.mark.parametrize(
    "name", ["list of 18446744073709551615", "pytorch zip renamed", "st NaN", "overlapping"]
)
def test_a_hostile_file_is_refused_through_the_child(name: str, tmp_path: Path) -> None:
    case = next(case for case in hostile() if case.name == name)
    found = inspected(case.data, tmp_path / "x.gguf")
    assert (found.verdict, found.code, found.passed) == ("refuse", case.code, False)
    assert found.facts == {}


def test_it_works_from_any_folder_and_with_any_environment(
    good: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert inspect_file(good).passed


def test_the_position_of_the_descriptor_is_not_moved(good: int) -> None:
    os.lseek(good, 7, os.SEEK_SET)
    inspect_file(good)
    assert os.lseek(good, 0, os.SEEK_CUR) == 7


def test_no_manifest_unless_asked_for(good: int) -> None:
    found = inspect_file(good, manifest=False)
    assert found.passed
    assert found.manifest is None


def test_a_set_passes_as_one_model(tmp_path: Path) -> None:
    found = inspected_set(gguf_set(), tmp_path)
    assert (found.verdict, found.format, found.facts["files"]) == ("pass", "gguf", 3)
    assert (found.facts["tensor_count"], found.facts["parameters"]) == (3, 3 * 128)
    assert found.manifest is not None
    assert [file.path for file in found.manifest.files] == [called(n) for n in range(3)]


def test_a_match_in_a_set_names_its_file(tmp_path: Path) -> None:
    planted = in_weights(elf())
    found = inspected(planted, tmp_path / "x")
    assert [(match.rule, match.file) for match in found.matches] == [("elf_program", "")]
    assert planted[found.matches[0].offset :].startswith(b"\x7fELF")


def inspected_set(files: dict[str, bytes], folder: Path) -> Inspection:
    with ExitStack() as opened:
        members = []
        for number, (path, data) in enumerate(files.items()):
            (folder / str(number)).write_bytes(data)
            file = opened.enter_context((folder / str(number)).open("rb"))
            members.append(Member(path, file.fileno()))
        return inspect_files(members, is_set=True)


@pytest.mark.parametrize(
    ("model", "facts"),
    [
        (chat_model, {"architecture": "llama", "quantization": "Q4_1", "head_count_kv": 3, "pooling": None}),
        (
            base_model,
            {"architecture": "gemma3", "sliding_window": 512, "key_length": 256, "chat_template": None},
        ),
        (
            embedding_model,
            {"architecture": "bert", "pooling": "mean", "causal": False, "chat_template": None},
        ),
    ],
    ids=["chat", "base", "embedding"],
)
def test_a_real_model_passes_with_its_facts_in_time_and_memory(
    model: Callable[[], Path], facts: dict[str, object]
) -> None:
    with model().open("rb") as file:
        start = time.perf_counter()
        found = inspect_file(file.fileno())
    assert time.perf_counter() - start < 20
    assert (found.verdict, found.matches) == ("pass", ()), found.reason
    assert {name: found.facts[name] for name in facts} == facts
    assert (found.statistics["not_measured"], found.statistics["notable"]) == (0, [])
    assert 0 < peak_of_inspecting(model()) < 512 << 10


def test_progress_is_reported_and_what_it_raises_ends_the_inspection(good: int) -> None:
    shares: list[float] = []
    assert inspect_files([Member("", good)], is_set=False, progress=shares.append).passed
    assert shares == sorted(shares)
    assert shares[-1] == 1

    def cancel(_share: float) -> None:
        raise KeyError("cancelled")

    with pytest.raises(KeyError, match="cancelled"):
        inspect_files([Member("", good)], is_set=False, progress=cancel)


def test_a_long_list_of_texts_stays_within_time_and_memory(tmp_path: Path) -> None:
    path = tmp_path / "many.gguf"
    with path.open("wb") as file:
        key = b"\1\0\0\0\0\0\0\0x\x09\0\0\0\x08\0\0\0" + (4 << 20).to_bytes(8, "little")
        file.write(b"GGUF\3\0\0\0" + (1).to_bytes(8, "little") * 2 + key)
        file.truncate(40 << 20)
    start = time.perf_counter()
    with path.open("rb") as file:
        found = inspect_file(file.fileno())
    assert time.perf_counter() - start < 2
    assert found.verdict == "refuse"


def test_a_child_that_hangs_is_stopped(good: int, monkeypatch: pytest.MonkeyPatch) -> None:
    child_runs(monkeypatch, "import time; time.sleep(60)")
    start = time.perf_counter()
    found = inspect_files([Member("", good)], is_set=False, timeout=0.3)
    assert time.perf_counter() - start < 3
    assert (found.verdict, found.code) == ("inconclusive", "inspector.time")


def test_a_child_that_closes_its_answer_and_hangs_is_stopped(
    good: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    child_runs(monkeypatch, "import os, time; os.close(1); time.sleep(60)")
    assert inspect_files([Member("", good)], is_set=False, timeout=0.5).code == "inspector.time"


@pytest.mark.parametrize(
    "code",
    [
        "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
        "import os; os.abort()",
        "raise SystemExit(3)",
        "1/0",
    ],
)
def test_a_child_that_dies_is_inconclusive(code: str, good: int, monkeypatch: pytest.MonkeyPatch) -> None:
    child_runs(monkeypatch, "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0));" + code)
    found = inspect_file(good)
    assert (found.verdict, found.code) == ("inconclusive", "inspector.crash")


def test_a_pass_that_was_written_before_a_crash_does_not_count(
    good: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = json.dumps(answer_of(small_gguf(), tmp_path / "x"))
    child_runs(monkeypatch, f"print({answer!r}, flush=True); raise SystemExit(1)")
    assert inspect_file(good).code == "inspector.crash"


@pytest.mark.parametrize("said", ["", "pass", "{}", "[]", "null", '{"verdict":"pass"}', "\\xff", "[" * 9_999])
def test_garbage_is_inconclusive(said: str, good: int, monkeypatch: pytest.MonkeyPatch) -> None:
    child_runs(monkeypatch, f"print({said!r})")
    found = inspect_file(good)
    assert (found.verdict, found.code) == ("inconclusive", "inspector.answer")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("verdict", "ok"),
        ("verdict", True),
        ("format", "pickle"),
        ("facts", []),
        ("facts", {}),
        ("reason", None),
        ("reason", "x" * 5_000),
        ("offset", "4"),
        ("offset", True),
        ("fingerprint", None),
        ("fingerprint", "A" * 64),
        ("manifest", None),
        ("manifest", {"root": "0" * 64}),
        ("manifest", {"root": "0" * 64, "files": []}),
        ("matches", {}),
        ("matches", [{"rule": "x"}]),
        ("matches", [{"rule": "x", "meaning": "y", "file": "", "offset": "0"}]),
        ("statistics", None),
        ("file", 3),
        ("sandbox_lacks", "none"),
        ("extra", 1),
    ],
)
def test_an_answer_out_of_shape_is_inconclusive(
    field: str, value: object, good: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = answer_of(small_gguf(), tmp_path / "x")
    child_answers(monkeypatch, true)
    assert inspect_file(good).passed
    child_answers(monkeypatch, true | {field: value})
    found = inspect_file(good)
    assert (found.verdict, found.code) == ("inconclusive", "inspector.answer")


def test_an_endless_answer_is_cut(good: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect, "MAX_ANSWER", 1 << 20)
    child_runs(monkeypatch, "while True: print('x' * 65536)")
    found = inspect_file(good)
    assert (found.verdict, found.code) == ("inconclusive", "inspector.answer")


def test_a_child_that_cannot_start_is_inconclusive(good: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect, "_command", lambda *_: ["/nonexistent/python"])
    assert inspect_file(good).code == "inspector.start"


def test_a_file_that_changes_meanwhile_is_inconclusive(
    good: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = inspect._run

    def run(*arguments: Any) -> bytes:
        answer = real(*arguments)
        os.utime(tmp_path / "model.gguf", (1, 1))
        return answer

    monkeypatch.setattr(inspect, "_run", run)
    assert inspect_file(good).code == "inspector.changed"


def test_what_is_not_a_regular_file_is_refused() -> None:
    fd = os.open("/dev/null", os.O_RDONLY)
    try:
        assert inspect_file(fd).code == "file.kind"
    finally:
        os.close(fd)


def test_a_writable_descriptor_is_a_mistake_of_the_caller(tmp_path: Path) -> None:
    with (tmp_path / "x").open("w+b") as file, pytest.raises(ValueError, match="read-only"):
        inspect_file(file.fileno())


PROBE = """
import sys; sys.path.insert(0, {root!r})
import os, socket, json
from registry.quarantine import inspect_process
def attempt(what):
    try:
        what()
    except BaseException as error:
        return type(error).__name__
    return "done"
def examine(members, *, is_set, sources, progress):
    member = members[0]
    probes = dict(
        read=attempt(lambda: open("/etc/passwd").read()),
        listed=attempt(lambda: os.listdir("/")),
        write=attempt(lambda: open({target!r}, "w").write("x")),
        socket=attempt(lambda: socket.socket()),
        udp=attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)),
        unix=attempt(lambda: socket.socket(socket.AF_UNIX)),
        fork=attempt(os.fork),
        run=attempt(lambda: os.execv("/bin/true", ["true"])),
        memory=attempt(lambda: bytearray(600 << 20)),
        kill=attempt(lambda: os.kill(os.getppid(), 0)),
        overwritten=attempt(lambda: os.pwrite(member.fd, b"x", 0)),
        descriptors=attempt(lambda: [os.fstat(n) for n in range(3, 64) if n != member.fd]),
    )
    return inspect_process.inconclusive(json.dumps(probes), "probe")
inspect_process.examine = examine
sys.exit(inspect_process.main([{parent!r}, "5", "1"]))
"""


def test_a_child_taken_over_can_reach_nothing(
    good: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = PROBE.format(root=str(inspect.ROOT), target=str(tmp_path / "out"), parent=str(os.getpid()))
    monkeypatch.setattr(inspect, "_command", lambda *_: [sys.executable, "-I", "-c", code])
    found = inspect_file(good)
    assert found.code == "probe", found.reason
    probes = json.loads(found.reason)
    assert probes.pop("memory") == "MemoryError"
    assert probes.pop("descriptors") == probes.pop("overwritten") == "OSError"
    assert set(probes.values()) == {"PermissionError"}, probes
    assert not (tmp_path / "out").exists()
