"""A second opinion from modelaudit, where the operator has installed it: evidence, which may refuse and never admits.

It is a program of its own, in an installation of its own (`SECAI_MODELAUDIT` names the executable), run in a sandbox
without a network, with its telemetry switched off, on the item's own path. Its options and its JSON: modelaudit 0.2.54.
"""

import json
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from django.conf import settings

from registry.quarantine.child import python_child, run_child
from registry.quarantine.plain import plain

log = logging.getLogger(__name__)

PROCESS: Final = "registry.quarantine.second_opinion_process"
SECONDS: Final = 600.0
MAX_ANSWER: Final = 16 << 20
MAX_FINDINGS: Final = 20
TEXT: Final = 300
# Its severities; the last refuses.
SEVERITIES: Final = ("debug", "info", "warning", "critical")


def second_opinion(path: Path) -> dict[str, Any] | None:
    """What modelaudit says of the file or folder at `path`; None where it is not installed.

    `{"name": "modelaudit", "verdict": "clean"|"findings"|"critical"|"failed", "findings": [{"severity", "text"}…]}`.
    Only "critical" is a reason to refuse; "failed" (it crashed, took too long, or made no sense) says nothing.
    """
    program = str(settings.MODELAUDIT)
    if not program:
        return None
    with tempfile.TemporaryDirectory(prefix="opinion-") as scratch, open(os.devnull, "rb") as nothing:
        command = python_child(PROCESS, program, scratch, str(path))
        outcome = run_child(command, stdin=nothing.fileno(), seconds=SECONDS, most=MAX_ANSWER)
    # it ends with 1 where it found something, so the report itself says whether it came to its end
    if outcome.end in ("well", "crashed") and (report := _report(outcome.output)) is not None:
        return {"name": "modelaudit", **report}
    log.warning("modelaudit at %s gave no report: it ended %s", program, outcome.end)
    return {"name": "modelaudit", "verdict": "failed", "findings": []}


def _report(raw: bytes) -> dict[str, Any] | None:
    """Its report, as far as it is of the known form; None where it is not."""
    try:
        report = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    match report:
        case {"issues": [*issues], "has_errors": bool(errors)} if all(map(_is_issue, issues)):
            findings = [_finding(issue) for issue in issues if issue["severity"] not in ("debug", "info")]
        case _:
            return None
    findings.sort(key=lambda one: -SEVERITIES.index(one["severity"]))
    critical = any(one["severity"] == "critical" for one in findings)
    if errors and not critical:
        return None  # it did not read the whole file
    verdict = "critical" if critical else "findings" if findings else "clean"
    return {"verdict": verdict, "findings": findings[:MAX_FINDINGS]}


def _is_issue(issue: object) -> bool:
    match issue:
        case {"message": str(), "severity": str(severity)}:
            return severity in SEVERITIES
        case _:
            return False


def _finding(issue: Mapping[str, str]) -> dict[str, str]:
    return {"severity": issue["severity"], "text": plain(issue["message"], TEXT)}
