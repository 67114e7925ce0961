"""How many of the chat templates in a folder pass the review, of which family they are, and why the others do not.

    python benchmarks/templates.py FOLDER

Reads every `*.jinja` below the folder. llama.cpp publishes several dozen real ones in its source, `models/templates`.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from registry.quarantine.templates import review


def main() -> None:
    """Review, and print a line per template and the totals."""
    paths = sorted(Path(sys.argv[1]).rglob("*.jinja"))
    passed = known = 0
    slowest = 0.0
    for path in paths:
        began = time.perf_counter()
        found = review({"": path.read_text(encoding="utf-8")})
        seconds = time.perf_counter() - began
        passed, known, slowest = passed + found.passed, known + bool(found.family), max(slowest, seconds)
        print(f"{found.verdict:8} {seconds:5.2f} s  {path.name}: {found.family or '-'}")
        for code, text, line in found.findings:
            print(f"         {code} (line {line}): {text}")
    print(
        f"{passed} of {len(paths)} pass, {known} of a known family; the slowest review took {slowest:.2f} s"
    )


if __name__ == "__main__":
    main()
