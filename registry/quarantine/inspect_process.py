"""The child process that looks into unknown files. It gets their descriptors and can reach nothing else.

Started by `registry.quarantine.inspect`; standard input tells which descriptors it has, standard output takes one dot
for each per cent done, then one JSON object.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from registry.quarantine import rules
from registry.quarantine.formats.errors import FormatError
from registry.quarantine.formats.members import Member
from registry.quarantine.formats.model import read_model
from registry.quarantine.formats.statistics import Statistics
from registry.quarantine.formats.survey import survey
from registry.quarantine.rules.scanner import RuleScanner
from secai_site.kernel.sandbox import Limits, Profile, SandboxUnavailableError, apply

REQUEST: Final = 0
ANSWER: Final = 1
MAX_REQUEST: Final = 4 << 20
MAX_ANSWER: Final = 32 << 20
MEMORY: Final = 512 << 20

Answer = dict[str, Any]


def main(arguments: list[str]) -> int:
    """Confine this process, inspect the files of the request, write the answer.

    `arguments`: parent pid, processor seconds, whether the sandbox is required (0 or 1).
    """
    parent, cpu_s, required = map(int, arguments)
    try:
        sources = rules.sources()  # nothing can be opened later
        applied = apply(profile(parent, cpu_s, required=bool(required)))
        request = json.loads(os.read(REQUEST, MAX_REQUEST))
        answer = examine(
            [Member(path, fd) for path, fd in request["members"]], is_set=request["is_set"],
            sources=sources if request["manifest"] else None, progress=_dots(),
        )  # fmt: skip
        answer["sandbox_lacks"] = list(applied.lacks)
    except SandboxUnavailableError as error:
        answer = inconclusive(str(error), "inspector.sandbox")
    except MemoryError:
        answer = inconclusive("The inspection needed more memory than it may have", "inspector.memory")
    except Exception as error:  # whatever a hostile file provokes is an answer, and never a pass
        answer = inconclusive(f"The inspection failed ({type(error).__name__})", "inspector.failed")
    _write(answer)
    return 0


def profile(parent: int, cpu_s: int, *, required: bool) -> Profile:
    """No path, no port, no socket, no other process; writing to any file is off."""
    return Profile(
        name="inspector",
        network="none",
        processes=False,
        programs=False,
        limits=Limits(cpu_s=cpu_s, memory=MEMORY, file_size=0, open_files=16),
        required=required,
        parent=parent,
    )


def examine(
    members: Sequence[Member],
    *,
    is_set: bool,
    sources: Mapping[str, str] | None,
    progress: Callable[[float], None] = lambda _share: None,
) -> Answer:
    """Validate the headers, then read all bytes once; the answer as a dict that is plain JSON.

    `sources` are the rules to apply; without them only the headers are read, and there is no manifest.
    """
    members = members if is_set else [Member("", member.fd) for member in members]
    statistics = Statistics()
    found: tuple[rules.Match, ...] = ()
    manifest = None
    try:
        model = read_model(members, is_set=is_set)
        if sources is not None:
            scanner = RuleScanner(sources)
            manifest = survey(members, model.parts, scanner, statistics, progress).to_json()
            found = scanner.matches
    except FormatError as error:
        return refused(error)
    return _answer("pass", "It is a well-formed model", "inspector.pass") | {
        "format": model.format,
        "facts": dict(model.facts),
        "fingerprint": model.fingerprint,
        "manifest": manifest,
        "matches": [asdict(match) for match in found],
        "statistics": statistics.to_json(),
    }


def refused(error: FormatError) -> Answer:
    """The answer for files that are not acceptable."""
    return _answer("refuse", error.reason, error.code) | {"offset": error.offset, "file": error.path}


def inconclusive(reason: str, code: str) -> Answer:
    """The answer where the inspection came to no end; callers treat it as a refusal."""
    return _answer("inconclusive", reason, code)


def _answer(verdict: str, reason: str, code: str) -> Answer:
    return {
        "verdict": verdict,
        "format": None,
        "reason": reason,
        "code": code,
        "offset": None,
        "file": None,
        "facts": {},
        "fingerprint": None,
        "manifest": None,
        "matches": [],
        "statistics": {},
        "sandbox_lacks": [],
    }


def _dots() -> Callable[[float], None]:
    """Writes a dot for each further per cent."""
    written = 0

    def report(share: float) -> None:
        nonlocal written
        due = int(share * 100) - written
        if due > 0:
            os.write(ANSWER, b"." * due)
            written += due

    return report


def _write(answer: Answer) -> None:
    raw = _encoded(answer)
    if len(raw) > MAX_ANSWER:
        raw = _encoded(inconclusive("The header holds too much text to report", "inspector.answer"))
    with open(ANSWER, "wb", closefd=False) as out:
        out.write(raw)


def _encoded(answer: Answer) -> bytes:
    return json.dumps(answer, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
