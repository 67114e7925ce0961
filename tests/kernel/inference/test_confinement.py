"""What the worker of a private engine can still reach: tried in processes under its very profile."""

import asyncio
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from secai_site.kernel.inference.confinement import ConfinementError, profile, read_report
from secai_site.kernel.inference.isolated import SOURCES, isolated_engine, worker_environment
from secai_site.kernel.inference.protocol import ModelFile

from .conftest import chat, collect, text_of

ATTEMPTS = """
import json, os, pathlib, signal, socket, subprocess, sys
from secai_site.kernel.inference.confinement import confine
root, other, port, door = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
assert confine(root, required=True)

def connect(kind, address):
    with socket.socket(kind, socket.SOCK_STREAM) as made:
        made.connect(address)

attempts = {
    "own file": lambda: (root / "model.gguf").read_bytes(),
    "own folder": lambda: os.listdir(root),
    "own program": lambda: subprocess.run([sys.executable, "-I", "-c", ""], check=True),
    "another item": lambda: (other / "model.gguf").read_bytes(),
    "the folder of all items": lambda: os.listdir(root.parent),
    "another item through a link": lambda: (root / "link").read_bytes(),
    "the project": lambda: pathlib.Path(sys.argv[5], "manage.py").read_bytes(),
    "the users of the machine": lambda: pathlib.Path("/etc/passwd").read_bytes(),
    "the environment of the parent": lambda: pathlib.Path(f"/proc/{os.getppid()}/environ").read_bytes(),
    "write beside the model": lambda: (root / "new").write_bytes(b"x"),
    "change the model": lambda: (root / "model.gguf").open("r+b"),
    "remove the model": lambda: (root / "model.gguf").unlink(),
    "write to a common folder": lambda: (root.parent / "written").write_bytes(b"x"),
    "connect to a port": lambda: connect(socket.AF_INET, ("127.0.0.1", port)),
    "connect to a local socket": lambda: connect(socket.AF_UNIX, door),
    "run a shell": lambda: subprocess.run(["/bin/sh", "-c", "true"]),
    "stop the parent": lambda: os.kill(os.getppid(), signal.SIGCONT),
}
outcome = {}
for name, attempt in attempts.items():
    try:
        attempt()
        outcome[name] = "done"
    except PermissionError:
        outcome[name] = "denied"
    except OSError as error:
        outcome[name] = repr(error)
print(json.dumps(outcome))
"""
ALLOWED = {"own file", "own folder", "own program"}


def run(script: str, *arguments: object, timeout: float = 60) -> list[str]:
    """The lines that a script writes, started as a worker is."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        env=worker_environment(), stdout=subprocess.PIPE, check=True, timeout=timeout, text=True,
    )  # fmt: skip
    return done.stdout.splitlines()


async def test_it_reaches_its_own_model_and_nothing_else(tmp_path: Path) -> None:
    items = [tmp_path / "item", tmp_path / "other"]
    for item in items:
        item.mkdir()
        (item / "model.gguf").write_bytes(b"GGUF")
    (items[0] / "link").symlink_to(items[1] / "model.gguf")
    door = tmp_path / "door.sock"
    tcp = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    unix = await asyncio.start_unix_server(lambda _reader, writer: writer.close(), door)
    port = tcp.sockets[0].getsockname()[1]
    report, outcome = await asyncio.to_thread(run, ATTEMPTS, *items, port, door, SOURCES)
    tcp.close()
    unix.close()
    assert read_report(report.encode()).complete
    tried = json.loads(outcome)
    assert {name for name, came in tried.items() if came == "done"} == ALLOWED
    assert {came for name, came in tried.items() if name not in ALLOWED} == {"denied"}
    assert sorted(os.listdir(items[0])) == ["link", "model.gguf"]
    assert (items[0] / "model.gguf").read_bytes() == b"GGUF"


def test_its_profile_names_no_folder_that_holds_the_data_of_the_box(tmp_path: Path) -> None:
    made = profile(tmp_path, required=True)
    assert tmp_path in made.read
    assert made.write == (Path(os.devnull),)
    for place in (*made.read, *made.execute):
        assert not SOURCES.is_relative_to(place)
    assert Path(sys.executable).resolve() in made.execute
    assert made.required


async def test_a_real_worker_works_under_it(models_root: Path, tmp_path: Path, demo: ModelFile) -> None:
    async with isolated_engine(models_root, tmp_path) as engine:
        status = Path(f"/proc/{(await engine.status()).pid}/status").read_text()
        facts = dict(line.split(":\t", 1) for line in status.splitlines())
        assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", "2")
        assert engine.confinement.complete
        assert any("no sockets" in words for words in engine.confinement.enforced)
        assert text_of(await collect(engine.generate(chat(demo, "Hi"))))


# A machine without Landlock: its first system call answers "no such call" in this process and its children.
WITHOUT_LANDLOCK = """
import asyncio, errno, pathlib, sys
import pyseccomp
from secai_site.kernel.inference.errors import EngineDown
from secai_site.kernel.inference.isolated import isolated_engine
filter = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
filter.add_rule(pyseccomp.ERRNO(errno.ENOSYS), 444)
filter.load()

async def main():
    root, run = map(pathlib.Path, sys.argv[1:])
    try:
        async with isolated_engine(root, run):
            print("started")
    except EngineDown as error:
        print(error.message)
    async with isolated_engine(root, run, require_sandbox=False) as engine:
        print((await engine.status()).state, *engine.confinement.lacks)

asyncio.run(main())
"""


async def test_it_does_not_start_on_a_machine_that_cannot_confine_it(
    models_root: Path, tmp_path: Path
) -> None:
    refused, lenient = await asyncio.to_thread(run, WITHOUT_LANDLOCK, models_root, tmp_path)
    assert refused.startswith(
        "the inference engine does not start: The sandbox “private engine” cannot be closed"
    )
    assert "no Landlock" in refused
    assert lenient.startswith("idle the kernel has no Landlock")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("line", [b"", b"\n", b"[]", b"{}", b'{"profile": "x"}', b'"refused"', b"\xff", b"7"])
def test_a_worker_that_does_not_say_how_it_is_confined_is_not_used(line: bytes) -> None:
    with pytest.raises(ConfinementError):
        read_report(line)
