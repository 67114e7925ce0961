"""Let atheris look for an input that breaks a target, or keep what it found.

    python -m tests.fuzz gguf 600     fuzz for 600 seconds; new inputs and breaches go to build/fuzz/gguf
    python -m tests.fuzz gguf keep    add to tests/fuzz/corpus/gguf the inputs found that reach something new

libFuzzer starts this again for `keep` and gives it options of its own, which begin with a dash.
"""

import importlib
import random
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import atheris

from tests.fuzz.target import INTERESTING, Target

ROOT: Final = Path(__file__).resolve().parents[2]
KEPT: Final = ROOT / "tests/fuzz/corpus"
BUILD: Final = ROOT / "build/fuzz"
INSTRUMENTED: Final = ["registry.quarantine.formats", "registry.quarantine.signatures"]
LONGEST: Final = 8_192
MEMORY: Final = 512 << 20


def main(arguments: list[str]) -> None:
    """`arguments`: the name of a target, then seconds, `keep`, or libFuzzer's own options."""
    name, *options = arguments
    with atheris.instrument_imports(include=INSTRUMENTED):
        target: Target = importlib.import_module(f"tests.fuzz.{name}").TARGET
    if not options[0].startswith("-"):
        options = _options(target, options[0])
    # libFuzzer joins these with spaces to start itself again
    command = f"{sys.executable} -m tests.fuzz {name}"
    _limit_memory()
    atheris.Setup([command, *options], _run(target), custom_mutator=_mutator(target))
    atheris.Fuzz()


def _options(target: Target, what: str) -> list[str]:
    """libFuzzer's options and folders; the first folder gets what is new."""
    found, begin, breaches = (BUILD / target.name / folder for folder in ("found", "seeds", "breaches"))
    kept = KEPT / target.name
    for folder in (found, begin, breaches, kept):
        folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (begin / f"{number:04d}").write_bytes(seed)
    bounds = [f"-max_len={LONGEST}", "-timeout=60", "-rss_limit_mb=1024", f"-artifact_prefix={breaches}/"]
    if what == "keep":
        return ["-merge=1", *bounds, str(kept), str(found), str(begin)]
    return [
        f"-max_total_time={int(what)}",
        "-print_final_stats=1",
        *bounds,
        str(found),
        str(kept),
        str(begin),
    ]


def _limit_memory() -> None:
    """Let this process grow by 512 MiB; a reader that wants more gets a MemoryError, which is a breach."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _run(target: Target) -> Callable[[bytes], None]:
    def one(data: bytes) -> None:
        target.check(data)

    return one


def _mutator(target: Target) -> Callable[[bytes, int, int], bytes]:
    def mutate(data: bytes, longest: int, seed: int) -> bytes:
        chance = random.Random(seed)
        drawn = chance.random()
        if target.build is not None and drawn < 0.15:
            data = target.build(chance)
        elif drawn < 0.4:
            data = _poked(data, chance)
        else:
            data = atheris.Mutate(data, longest)
        if target.aligned is not None and chance.random() < 0.7:
            data = target.aligned(data)
        return bytes(data[:longest])

    return mutate


def _poked(data: bytes, chance: random.Random) -> bytes:
    """A number of 4 or 8 bytes replaced by one that tends to be forgotten."""
    width = chance.choice((4, 8))
    at = chance.randrange(max(1, len(data) - width))
    number = chance.choice(INTERESTING) % (1 << 8 * width)
    return data[:at] + number.to_bytes(width, "little") + data[at + width :]


if __name__ == "__main__":
    main(sys.argv[1:])
