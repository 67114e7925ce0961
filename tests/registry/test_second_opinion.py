"""modelaudit beside our own scan: what is taken from it, and that its failures decide nothing.

An executable stands in for it that prints what modelaudit 0.2.54 prints.
"""

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from registry.quarantine import second_opinion as module
from registry.quarantine.second_opinion import second_opinion

OPENS_A_SOCKET = """
import json, socket
try:
    socket.socket()
    answer = "a socket"
except OSError as error:
    answer = type(error).__name__
print(json.dumps({"issues": [{"message": answer, "severity": "critical"}], "has_errors": False}))
"""
FAILED = {"name": "modelaudit", "verdict": "failed", "findings": []}


def running(command: bytes) -> bool:
    """Whether a process of that command line is alive."""
    found = False
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found = found or command in path.read_bytes()
    return found


@pytest.fixture
def item(tmp_path: Path) -> Path:
    """What is looked at."""
    path = tmp_path / "item" / "artifact"
    path.parent.mkdir()
    path.write_bytes(b"GGUF and more")
    return path


@pytest.fixture
def stand_in(tmp_path: Path, settings: Any) -> Any:
    """`stand_in(script)` installs a shell script in the place of modelaudit."""

    def install(script: str) -> Path:
        path = tmp_path / "installation" / "bin" / "modelaudit"
        path.parent.mkdir(parents=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        settings.MODELAUDIT = str(path)
        return path

    return install


def report(*issues: dict[str, Any], errors: bool = False) -> str:
    """A script that prints such a report, and ends as modelaudit does."""
    text = json.dumps({"issues": issues, "checks": [], "has_errors": errors, "files_scanned": 1})
    return f"echo 'noise' >&2\ncat <<'END'\n{text}\nEND\nexit {2 if errors else int(bool(issues))}"


def issue(severity: str, message: str = "Found os.system") -> dict[str, Any]:
    return {"message": message, "severity": severity, "location": "somewhere", "details": {}}


def test_without_the_setting_there_is_none(item: Path, settings: Any) -> None:
    settings.MODELAUDIT = ""
    assert second_opinion(item) is None


def test_a_clean_report_is_clean(stand_in: Any, item: Path) -> None:
    stand_in(report(issue("info"), issue("debug")))
    assert second_opinion(item) == {"name": "modelaudit", "verdict": "clean", "findings": []}


def test_its_findings_are_told_the_worst_first(stand_in: Any, item: Path) -> None:
    stand_in(report(issue("warning", "odd\u202e\n" + "x" * 999), issue("critical")))
    opinion = second_opinion(item)
    assert opinion is not None
    assert opinion["verdict"] == "critical"
    assert [one["severity"] for one in opinion["findings"]] == ["critical", "warning"]
    assert opinion["findings"][1]["text"].startswith("odd\\u202e\\x0axx")
    assert len(opinion["findings"][1]["text"]) == 300


def test_warnings_alone_are_not_critical(stand_in: Any, item: Path) -> None:
    stand_in(report(*[issue("warning", f"n{n}") for n in range(30)]))
    opinion = second_opinion(item)
    assert opinion is not None
    assert (opinion["verdict"], len(opinion["findings"])) == ("findings", 20)


def test_a_critical_finding_counts_though_it_did_not_read_everything(stand_in: Any, item: Path) -> None:
    stand_in(report(issue("critical"), errors=True))
    opinion = second_opinion(item)
    assert opinion is not None
    assert opinion["verdict"] == "critical"


def test_it_is_asked_for_json_with_telemetry_off_and_nothing_of_our_environment(
    stand_in: Any, item: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECAI_SECRET_KEY", "secret")
    seen = {"severity": "critical"}
    stand_in(
        f"printf '%s' '{json.dumps({'issues': [seen | {'message': 'X'}], 'has_errors': False})}'"
        ' | sed "s|X|$* $PROMPTFOO_DISABLE_TELEMETRY$NO_ANALYTICS [$SECAI_SECRET_KEY] $HOME|"'
    )
    opinion = second_opinion(item)
    assert opinion is not None
    text = opinion["findings"][0]["text"]
    assert text.startswith(f"scan --format json --quiet --no-cache -- {item} 11 [] ")
    assert not text.endswith(str(Path.home()))


@pytest.mark.parametrize(
    "script",
    [
        "exit 0",
        "exit 3",
        "kill -9 $$",
        "echo garbage",
        "echo []",
        "echo '{}'",
        'echo \'{"issues": [1], "has_errors": false}\'',
        'echo \'{"issues": [{"message": "m", "severity": "fatal"}], "has_errors": false}\'',
        report(errors=True),
        report(issue("warning"), errors=True),
    ],
    ids=["silent", "error", "killed", "garbage", "list", "empty", "issue", "severity", "errors", "half"],
)
def test_a_failure_says_nothing(stand_in: Any, item: Path, script: str) -> None:
    stand_in(script)
    assert second_opinion(item) == FAILED


def test_a_missing_program_says_nothing(item: Path, tmp_path: Path, settings: Any) -> None:
    settings.MODELAUDIT = str(tmp_path / "nowhere" / "bin" / "modelaudit")
    assert second_opinion(item) == FAILED


def test_one_that_hangs_is_stopped_with_its_children(
    stand_in: Any, item: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS", 1.0)
    stand_in("sleep 987 & sleep 987")
    assert second_opinion(item) == FAILED
    deadline = time.monotonic() + 5
    while running(b"sleep\x00987") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running(b"sleep\x00987")


def test_one_that_floods_is_stopped(stand_in: Any, item: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ANSWER", 100_000)
    stand_in("yes '{'")
    assert second_opinion(item) == FAILED


def test_it_can_neither_change_the_item_nor_read_our_files(stand_in: Any, item: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    stand_in(
        f"echo changed > {item} && exit 9\ncat {secret} && exit 9\ncat {item} > /dev/null || exit 9\n"
        + report(issue("critical"))
    )
    opinion = second_opinion(item)
    assert opinion is not None
    assert opinion["verdict"] == "critical"
    assert item.read_bytes() == b"GGUF and more"


def test_it_has_no_network(stand_in: Any, item: Path, tmp_path: Path) -> None:
    python = Path(os.__file__).parents[2] / "bin" / "python3.11"
    path = stand_in("")
    (path.parent.parent / "pyvenv.cfg").write_text(f"home = {python.parent}\n")
    path.write_text(f"#!{python} -I\n{OPENS_A_SOCKET}")
    opinion = second_opinion(item)
    assert opinion is not None
    assert opinion["findings"][0]["text"] == "PermissionError"
