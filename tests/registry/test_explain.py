"""Refused pickles, explained: what they would have done, told without running them and within limits.

The pickles are written opcode by opcode (`pickletools`), since nothing here may make or load a real one.
"""

import io
import json
import os
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.quarantine import explain as module
from registry.quarantine.child import Outcome
from registry.quarantine.explain import explain
from registry.quarantine.explain_calls import read_program
from tests.support.hostile_models import small_gguf, small_safetensors, zip_bytes

STOP = b"."


def word(text: str) -> bytes:
    """A text, as protocol 1 and later write it."""
    raw = text.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def thing(name: str) -> bytes:
    """A global, as protocol 0 and later write it."""
    found, _, attribute = name.rpartition(".")
    return f"c{found}\n{attribute}\n".encode()


def modern_thing(name: str) -> bytes:
    """A global, as protocol 4 and later write it."""
    found, _, attribute = name.rpartition(".")
    return word(found) + word(attribute) + b"\x93"


def many(*items: bytes) -> bytes:
    """A tuple."""
    return b"(" + b"".join(items) + b"t"


def call(what: bytes, *arguments: bytes) -> bytes:
    """A call by REDUCE."""
    return what + many(*arguments) + b"R"


def shell(protocol: int) -> bytes:
    """`os.system("echo pwned")` in each protocol."""
    head = b"" if protocol < 2 else bytes([0x80, protocol])
    if protocol == 0:
        return b"cos\nsystem\n(S'echo pwned'\ntR."
    what = thing("os.system") if protocol < 4 else modern_thing("os.system")
    body = call(what, word("echo pwned")) + STOP
    frame = b"\x95" + struct.pack("<Q", len(body)) if protocol >= 4 else b""
    return head + frame + body


@pytest.fixture
def explained(tmp_path: Path) -> Callable[[bytes], Any]:
    """`explained(data)` is the explanation of a file with these bytes."""

    def say(data: bytes) -> Any:
        path = tmp_path / "model.bin"
        path.write_bytes(data)
        with path.open("rb") as file:
            os.lseek(file.fileno(), 3, os.SEEK_SET)
            said = explain(file.fileno())
            assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 3
        return said

    return say


@pytest.mark.parametrize("protocol", range(6))
def test_a_shell_command_is_told_in_every_protocol(explained: Any, protocol: int) -> None:
    said = explained(shell(protocol))
    assert said["would_do"] == ["It would have run the shell command `echo pwned` through os.system."]
    assert said["summary"].startswith("This is a pickle. A pickle is a program: loading it would have run")
    picklescan, fickling = said["scanners"]
    assert picklescan == {"name": "picklescan", "verdict": "dangerous", "findings": ["os.system: dangerous"]}
    assert (fickling["name"], fickling["verdict"]) == ("fickling", "likely overtly malicious")
    assert fickling["findings"]


IMPORTED = call(thing("builtins.__import__"), word("os"))
SAYS = {
    "eval": (call(thing("builtins.eval"), word("1+1")), "run the Python code `1+1` through builtins.eval"),
    "exec": (call(thing("builtins.exec"), word("import x")), "run the Python code `import x` through builtins.exec"),
    "Python 2": (call(thing("__builtin__.eval"), word("1")), "run the Python code `1` through __builtin__.eval"),
    "posix": (call(thing("posix.system"), word("ls")), "run the shell command `ls` through posix.system"),
    "runpy": (call(thing("runpy.run_path"), word("/x.py")), "run the Python module or file `/x.py` through runpy"),
    "a program": (
        call(thing("subprocess.Popen"), b"](" + word("sh") + word("-c") + word("id") + b"e"),
        "started the program `sh -c id` through subprocess.Popen",
    ),
    "spawn": (call(thing("os.spawnlp"), b"K\x00", word("sh")), "started the program `0, sh` through os.spawnlp"),
    "deleting": (call(thing("shutil.rmtree"), word("/home")), "deleted `/home` through shutil.rmtree"),
    "a file": (call(thing("builtins.open"), word("/etc/passwd")), "the file `/etc/passwd` through builtins.open"),
    "the network": (call(thing("urllib.request.urlopen"), word("http://x/")), "used the network through urllib"),
    "a hidden pickle": (call(thing("pickle.loads"), b"C\x01."), "another program hidden in it, through pickle.loads"),
    "native code": (call(thing("ctypes.CDLL"), word("x.so")), "native code of the machine through ctypes.CDLL"),
    "another function": (call(thing("evil.payload"), b"K\x07"), "called evil.payload with `7`"),
    "an object": (thing("evil.Thing") + b")\x81", "made an object of the kind evil.Thing"),
    "an old instance": (b"(" + word("ls") + b"ios\nsystem\n", "run the shell command `ls` through os.system"),
    "an old object": (b"(" + thing("os.system") + word("ls") + b"o", "run the shell command `ls` through os.system"),
    "getattr of an import": (
        call(call(thing("builtins.getattr"), IMPORTED, word("system")), word("ls")),
        "run the shell command `ls` through os.system",
    ),
    "getattr of getattr": (
        call(
            call(
                thing("builtins.getattr"),
                call(thing("builtins.getattr"), call(thing("importlib.import_module"), word("os")), word("path")),
                word("exists"),
            ),
            word("x"),
        ),
        "called os.path.exists with `x`",
    ),
    "attrgetter": (
        call(call(call(thing("operator.attrgetter"), word("system")), IMPORTED), word("ls")),
        "run the shell command `ls` through os.system",
    ),
    "partial": (
        call(thing("functools.partial"), thing("os.system"), word("ls")),
        "run the shell command `ls` through os.system",
    ),
    "only taken": (thing("os.system"), "taken hold of os.system"),
    "something computed": (call(call(thing("evil.choose")), word("x")), "called something that it works out itself"),
    "bytes": (call(thing("builtins.exec"), b"C\x02ab"), "run the Python code `ab`"),
}  # fmt: skip


@pytest.mark.parametrize("name", SAYS)
def test_what_it_would_have_done_is_told_in_a_sentence(name: str) -> None:
    program, words = SAYS[name]
    told = read_program(b"\x80\x03" + program + STOP).sentences
    assert any(sentence.startswith("It would have ") and words in sentence for sentence in told), told


def test_the_child_has_all_it_needs_though_it_can_load_nothing_any_more(explained: Any) -> None:
    said = explained(b"".join(program + b"0" for program, _ in SAYS.values()) + b"V\\u0041\n.")
    assert len(said["would_do"]) == 20
    assert not [one for one in said["scanners"] if "could not" in one["verdict"]]


def test_one_of_each_kind_is_told_by_the_child_as_well(explained: Any) -> None:
    nested = SAYS["getattr of an import"][0]
    said = explained(b"\x80\x04" + SAYS["exec"][0] + b"0" + nested + STOP)
    assert said["would_do"] == [
        "It would have run the Python code `import x` through builtins.exec.",
        "It would have loaded the Python module `os` through builtins.__import__.",
        "It would have run the shell command `ls` through os.system.",
    ]


def test_nothing_of_it_is_run(explained: Any, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    said = explained(call(thing("os.system"), word(f"touch {mark}")) + STOP)
    assert str(mark) in said["would_do"][0]
    assert not mark.exists()


# --- ordinary ones -----------------------------------------------------------------------------------


def tensor(key: str) -> bytes:
    """A tensor, as torch writes it: its storage is named by a persistent id."""
    storage = many(word("storage"), thing("torch.FloatStorage"), word(key), word("cpu"), b"K\x04") + b"Q"
    size, order = b"K\x02K\x02\x86", call(thing("collections.OrderedDict"))
    return call(thing("torch._utils._rebuild_tensor_v2"), storage, b"K\x00", size, size, b"\x89", order)


STATE = b"\x80\x02" + call(thing("collections.OrderedDict")) + b"(" + word("w") + tensor("0") + b"u" + STOP
ARRAY = (
    b"\x80\x03"
    + call(thing("numpy.core.multiarray._reconstruct"), thing("numpy.ndarray"), b"K\x00\x85", b"C\x01b")
    + many(
        b"K\x01", b"K\x02\x85", call(thing("numpy.dtype"), word("f4"), b"\x89", b"\x88"), b"\x89", b"C\x01x"
    )
    + b"b."
)


def archive(*members: tuple[str, bytes], deflate: bool = False) -> bytes:
    """A zip, as torch writes it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED) as made:
        for name, data in members:
            made.writestr(name, data)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (archive(("m/data.pkl", STATE), ("m/data/0", bytes(16)), ("m/version", b"3\n")), "a PyTorch archive"),
        (ARRAY, "a pickle"),
        (b"\x80\x04]\x94(K\x01K\x02e.", "a pickle"),
        (b"(lp0\nI1\naI2\na.", "a pickle"),
    ],
    ids=["state dict", "numpy array", "list", "protocol 0 list"],
)
def test_an_ordinary_one_is_said_to_rebuild_its_data(explained: Any, data: bytes, what: str) -> None:
    said = explained(data)
    assert said["would_do"] == []
    assert said["summary"].startswith(f"This is {what}")
    assert "seems only to rebuild its data" in said["summary"]
    assert "GGUF or safetensors" in said["summary"]
    assert said["scanners"][0]["verdict"] in ("innocuous", "nothing found")


def test_a_pickle_hidden_in_an_archive_is_found(explained: Any) -> None:
    data = archive(("m/data.pkl", STATE), ("m/extra.bin", shell(4)), ("m/data/0", bytes(16)))
    said = explained(data)
    assert said["would_do"] == ["It would have run the shell command `echo pwned` through os.system."]
    assert "PyTorch archive" in said["summary"]


def test_a_pickle_behind_very_many_members_is_found(explained: Any) -> None:
    assert explained(members(3000))["would_do"]


def test_an_archive_with_a_wrong_checksum_is_read_all_the_same(explained: Any) -> None:
    data = archive(("m/data.pkl", shell(2)))
    crc = struct.pack("<I", zlib.crc32(shell(2)))
    assert explained(data.replace(crc, b"\0\0\0\0"))["would_do"]


def test_a_second_pickle_behind_the_first_is_read(explained: Any) -> None:
    said = explained(b"\x80\x02K\x01." + shell(2))
    assert said["would_do"] == ["It would have run the shell command `echo pwned` through os.system."]


# --- broken and hostile ones -------------------------------------------------------------------------


def test_a_truncated_one_is_told_up_to_where_it_breaks(explained: Any) -> None:
    for cut in (1, 5):
        said = explained(shell(2) + word("more")[:-cut])
        assert said["would_do"] == ["It would have run the shell command `echo pwned` through os.system."]
    said = explained(shell(2)[:-2])
    assert "cannot be followed to its end" in said["summary"] or said["would_do"]


def test_one_that_breaks_off_is_not_called_ordinary(explained: Any) -> None:
    said = explained(STATE[:-1])
    assert "cannot be followed to its end" in said["summary"]


def doubling(levels: int) -> bytes:
    """Lists of two references to the list before: 2 ** levels elements."""
    data = b"\x80\x04](K\x01K\x01e\x94"
    for level in range(levels):
        data += b"](" + b"h" + bytes([level]) + b"h" + bytes([level]) + b"e\x94"
    return data + STOP


def members(count: int) -> bytes:
    return archive(*((f"m/{number}", b"x") for number in range(count)), ("m/data.pkl", shell(2)))


BOMBS = {
    "doubling": lambda: doubling(60),
    "doubling in a call": lambda: doubling(60)[:-1] + b"\x94" + thing("evil.x") + b"h\x3d\x85R.",
    "1,000 deep": lambda: b"\x80\x02" + b"(" * 1000 + b"l" * 1000 + STOP,
    "100,000 deep": lambda: b"\x80\x02" + b"(" * 100_000 + b"l" * 100_000 + STOP,
    "1,000 deep tuples": lambda: b"\x80\x02)" + b"\x85" * 1000 + STOP,
    "1,000 nested calls": lambda: b"\x80\x02" + thing("evil.x") * 1000 + b")R" + b"\x85R" * 999 + STOP,
    "a million opcodes": lambda: b"\x80\x02" + b"N0" * 1_000_000 + STOP,
    "8 million opcodes": lambda: b"\x80\x02" + b"N" * (9 << 20),
    "many duplicates": lambda: b"\x80\x02N" + b"2" * 40_000 + STOP,
    "a long number": lambda: b"\x80\x02\x8b" + struct.pack("<i", 4 << 20) + b"\x7f" * (4 << 20) + STOP,
    "a long decimal": lambda: b"\x80\x02L" + b"9" * (1 << 20) + b"L\n.",
    "a length past the end": lambda: b"\x80\x04\x8e" + struct.pack("<Q", 2**63 - 1) + b"x",
    "a long name": lambda: b"\x80\x02c" + b"m" * (1 << 20) + b"\nx\n)R.",
    "a zip bomb": lambda: archive(("m/data.pkl", b"\x80\x02" + b"N" * (200 << 20)), deflate=True),
    "many members": lambda: members(20_000),
    "many stacked": lambda: b"\x80\x02N." * 100_000,
    "many globals": lambda: b"\x80\x02" + b"".join(thing(f"m{n}.x") + b"0" for n in range(20_000)) + b"N.",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_explained_or_not_but_stays_within_its_limits(explained: Any, name: str) -> None:
    data = BOMBS[name]()
    start = time.process_time()
    wall = time.monotonic()
    said = explained(data)
    assert time.process_time() - start < 2
    assert time.monotonic() - wall < module.SECONDS + 2
    assert said is None or len(json.dumps(said)) < 64 << 10
    assert said is None or all(len(text) <= 500 for text in said["would_do"])


def test_a_harmful_call_behind_a_bomb_is_still_told(explained: Any) -> None:
    said = explained(doubling(60)[:-1] + b"0" + call(thing("os.system"), word("ls")) + STOP)
    assert said["would_do"] == ["It would have run the shell command `ls` through os.system."]


def test_hidden_characters_are_written_as_escapes(explained: Any) -> None:
    said = explained(
        b"\x80\x02" + call(thing("os.system"), word("a\u202eb\u200b\x1b[2J\nc\U000e0041")) + STOP
    )
    assert said["would_do"] == [
        "It would have run the shell command `a\\u202eb\\u200b\\x1b[2J\\x0ac\\U000e0041` through os.system."
    ]
    assert json.dumps(said, ensure_ascii=False).isprintable()


def test_long_texts_are_cut(explained: Any) -> None:
    said = explained(b"\x80\x02" + call(thing("os.system"), word("x" * 100_000)) + STOP)
    assert len(said["would_do"][0]) < 300
    assert "…" in said["would_do"][0]


# --- no pickle, no answer ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"", b".", b"N", b"hello", b"cat\ndog\nbird\n", b"import os\nos.system('x')\n", small_gguf(),
        small_safetensors(), zip_bytes(), b"PK\x03\x04" + b"x" * 100, b"\x80\x09" + b"x" * 50, bytes(1000),
        b"\x89PNG\r\n\x1a\n" + bytes(50),
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_pickle_is_not_explained(explained: Any, data: bytes) -> None:
    assert explained(data) is None


def test_without_a_child_there_is_no_explanation(explained: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROCESS", "no.such.module")
    assert explained(shell(2)) is None


LINES = [{"archive": False}, {"would_do": ["It would."], "whole": True}]


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (b"", None),
        (b"garbage\n", None),
        (b"[" * 100_000 + b"\n", None),
        (b'{"would_do": ["x"], "whole": true}\n', None),
        (b'{"archive": false}\n', []),
        (b'{"archive": false}\n{"would_do": 7}\n', []),
        (b'{"archive": false}\n{"would_do": ["It', []),
        (b'{"archive": false}\n{"scanner": {"name": "other", "verdict": "", "findings": []}}\n', []),
        ("".join(json.dumps(line) + "\n" for line in LINES).encode(), ["It would."]),
        (b'{"archive": false}\n{"would_do": [1, "a\\u202e", null], "whole": true}\n', ["a\\u202e"]),
    ],
)
def test_of_a_child_that_was_stopped_only_whole_answers_count(
    explained: Any, monkeypatch: pytest.MonkeyPatch, output: bytes, expected: list[str] | None
) -> None:
    monkeypatch.setattr(module, "run_child", lambda *_, **__: Outcome(output, "late"))
    said = explained(b"x")
    assert (said["would_do"] if said else None) == expected
    assert said is None or [one["verdict"] for one in said["scanners"]] == [module.STOPPED] * 2


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda tail: shell(4)[:-1] + tail))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_reading_a_program_never_raises(data: bytes) -> None:
    for sentence in read_program(b"\x80\x04" + data).sentences:
        assert sentence.isprintable()
        assert len(sentence) <= 500
