"""How much memory an inspection takes: measured from a small process of its own.

What the kernel says of the children of the process that runs the tests is no use: a child begins as a copy of its
parent, which has grown large by then, and other tests' children count as well.
"""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import resource, sys
from registry.quarantine.inspect import inspect_file
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        inspect_file(file.fileno())
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
ROOT = Path(__file__).resolve().parents[2]


def peak_of_inspecting(*paths: Path) -> int:
    """The largest resident set, in KiB, of the children that inspect these files one after the other."""
    command = [sys.executable, "-c", PROGRAM, *map(str, paths)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return int(done.stdout)
