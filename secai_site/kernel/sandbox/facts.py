"""What confinement is in force, written down by each process for those who report it."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from secai_site.kernel.sandbox.profile import Applied

PREFIX = "confinement-"


@dataclass(frozen=True, slots=True)
class Fact:
    """The confinement of a running process: its profile's name, what is in force, what the kernel lacks."""

    profile: str
    enforced: tuple[str, ...]
    lacks: tuple[str, ...]
    pid: int


def write(folder: Path, applied: Applied) -> None:
    """Write down what came of confining this process."""
    draft = folder / f".{PREFIX}{applied.profile}"
    draft.write_text(json.dumps({**asdict(applied), "pid": os.getpid()}))
    draft.replace(folder / f"{PREFIX}{applied.profile}.json")


def read(folder: Path) -> list[Fact]:
    """The facts of the processes that run now, by profile."""
    found = []
    for path in sorted(folder.glob(f"{PREFIX}*.json")):
        raw = json.loads(path.read_text())
        fact = Fact(raw["profile"], tuple(raw["enforced"]), tuple(raw["lacks"]), int(raw["pid"]))
        if Path(f"/proc/{fact.pid}").exists():
            found.append(fact)
    return found
