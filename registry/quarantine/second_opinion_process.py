"""The process that confines itself and then becomes modelaudit. Started by `registry.quarantine.second_opinion`.

It can read its own installation, the system's libraries and the item; write to a scratch folder; reach no network.
"""

import os
from pathlib import Path
from typing import Final

from secai_site.kernel.sandbox import Limits, Profile, apply

SYSTEM: Final = ("/usr", "/lib", "/lib64", "/bin", "/etc", "/dev/urandom", "/dev/zero", "/proc/self")
MEMORY: Final = 4 << 30
# Its README, "Telemetry": the first two switch it off; the rest keep its libraries offline.
ENVIRONMENT: Final = {
    "PROMPTFOO_DISABLE_TELEMETRY": "1", "NO_ANALYTICS": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1",
    "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": "1", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8",
}  # fmt: skip
OPTIONS: Final = ("scan", "--format", "json", "--quiet", "--no-cache", "--")


def main(arguments: list[str]) -> int:
    """Confine this process and run the program. `arguments`: parent pid, executable, scratch folder, what to scan."""
    parent, program, scratch, item = int(arguments[0]), Path(arguments[1]), Path(arguments[2]), arguments[3]
    installation = _existing(*map(str, _installation(program)), *SYSTEM)
    apply(
        Profile(
            name="second opinion", read=(*installation, Path(item)), write=(scratch, Path(os.devnull)),
            execute=installation, network="none", programs=True, required=True, parent=parent, hidden_memory=False,
            limits=Limits(cpu_s=1200, memory=MEMORY, file_size=64 << 20, open_files=256),
        )
    )  # fmt: skip
    home = {"HOME": str(scratch), "TMPDIR": str(scratch), "XDG_CACHE_HOME": str(scratch)}
    os.chdir(scratch)
    os.execve(program, [str(program), *OPTIONS, item], {**ENVIRONMENT, **home})  # noqa: S606 - the operator's own


def _installation(program: Path) -> list[Path]:
    """The folders that the program runs from: its virtual environment, and the Python that this was made of."""
    root = program.resolve().parent.parent
    config = root / "pyvenv.cfg"
    lines = config.read_text().splitlines() if config.is_file() else []
    homes = [Path(line.removeprefix("home = ")).parent for line in lines if line.startswith("home = ")]
    return [root, *homes]


def _existing(*paths: str) -> tuple[Path, ...]:
    return tuple(Path(path) for path in paths if Path(path).exists())
