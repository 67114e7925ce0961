"""From `serve` to all healthy, and the memory of all services, against their limits.

    python benchmarks/startup.py

The first start makes the database and puts the bundled model into quarantine; the second finds everything there.
Each printed ratio is the measured value ÷ its limit: below 1 is within it. Memory is the sum of proportional set
sizes of all processes, with no model loaded.
"""

import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.box import running

START_LIMIT_S = 2.5
MEMORY_LIMIT_MB = 400
ROUNDS = 3


def main() -> None:
    """Measure and print."""
    home = Path(tempfile.mkdtemp(prefix="secai-bench-"))
    try:
        with running(home) as box:
            print(f"first start (database, keys, bundled model): {box.seconds:.2f} s")
        seconds = []
        for _ in range(ROUNDS):
            with running(home) as box:
                seconds.append(box.seconds)
                memory = box.memory()
        ratio = sorted(seconds)[len(seconds) // 2] / START_LIMIT_S
        print(
            f"later starts: {min(seconds):.2f} to {max(seconds):.2f} s ÷ limit {START_LIMIT_S} s = {ratio:.2f}"
        )
        total = sum(memory.values()) / 2**20
        ratio = total / MEMORY_LIMIT_MB
        print(f"memory of {len(memory)} processes: {total:.0f} MB ÷ limit {MEMORY_LIMIT_MB} MB = {ratio:.2f}")
        for name, size in sorted(memory.items(), key=lambda item: -item[1]):
            print(f"  {name:16} {size / 2**20:6.1f} MB")
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
