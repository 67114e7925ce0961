"""Explaining a refused pickle: what it would have done to this box, had anybody loaded it.

A confined child reads it with fickling and picklescan; nothing is ever unpickled. The explanation decides nothing: the
format gate has refused the file before.
"""

import json
from typing import Any, Final

from registry.quarantine.child import python_child, run_child
from registry.quarantine.plain import plain

PROCESS: Final = "registry.quarantine.explain_process"
# The child may use one second of processor time; the rest is for starting it on a busy machine.
SECONDS: Final = 5.0
MAX_ANSWER: Final = 256 << 10
MAX_LINES: Final = 20
SENTENCE: Final = 500
SCANNERS: Final = ("picklescan", "fickling")
STOPPED: Final = "stopped: it took too much time or memory"

DOES: Final = "loading it would have run what its maker wrote into it."
REBUILDS: Final = "this one seems only to rebuild its data, but that cannot be known without running it."
UNREADABLE: Final = "this one cannot be followed to its end, which is itself a warning."
INSTEAD: Final = (
    "SecAI did not load it, and loads none. Ask its maker for the same model as GGUF or safetensors."
)


def explain(fd: int) -> dict[str, Any] | None:
    """What the refused file behind `fd` would have done, or None when it is no pickle or nothing can be said.

    `{"summary": sentence, "would_do": [sentence…], "scanners": [{"name", "verdict", "findings": [text…]}…]}`, all of it
    short and printable. Reads by position, never raises for what is in the file.
    """
    outcome = run_child(python_child(PROCESS), stdin=fd, seconds=SECONDS, most=MAX_ANSWER)
    said = _said(outcome.output)
    if "archive" not in said:
        return None
    return {
        "summary": _summary(said),
        "would_do": said.get("would_do", []),
        "scanners": [said.get(name, {"name": name, "verdict": STOPPED, "findings": []}) for name in SCANNERS],
    }


def _summary(said: dict[str, Any]) -> str:
    what = "a PyTorch archive with a pickle inside" if said["archive"] else "a pickle"
    then = DOES if said.get("would_do") else REBUILDS if said.get("whole") else UNREADABLE
    return f"This is {what}. A pickle is a program: {then} {INSTEAD}"


def _said(output: bytes) -> dict[str, Any]:
    """The whole lines of the child, as far as they make sense."""
    said: dict[str, Any] = {}
    for line in output.split(b"\n")[:-1]:
        try:
            _take(json.loads(line), said)
        except (ValueError, RecursionError):
            break
    return said


def _take(answer: object, said: dict[str, Any]) -> None:
    match answer:
        case {"archive": bool(archive)}:
            said["archive"] = archive
        case {"would_do": [*sentences], "whole": bool(whole)}:
            said |= {"would_do": _texts(sentences), "whole": whole}
        case {"scanner": {"name": str(name), "verdict": str(verdict), "findings": [*findings]}} if (
            name in SCANNERS
        ):
            said[name] = {"name": name, "verdict": plain(verdict, SENTENCE), "findings": _texts(findings)}
        case _:
            raise ValueError("no answer of the agreed shape")


def _texts(values: list[Any]) -> list[str]:
    return [plain(value, SENTENCE) for value in values[:MAX_LINES] if isinstance(value, str)]
