"""kill -9 at each boundary of a model's way into the registry, and a restart: nothing half-promoted, nothing lost."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from registry.lifecycle import STAGES
from tests.support.box import Box, running, until
from tests.support.builders import flip_byte
from tests.support.crash import FAILING_POINTS, INTAKE_POINTS, SCAN_POINTS, STAGE_POINTS, Home
from tests.support.real_models import chat_model

pytestmark = pytest.mark.e2e
COMPLETE = dict.fromkeys(STAGES, "pass") | {"diffusion": "not_applicable"}
UNDONE = ("waiting", "scanning", "held")
AFTER_THE_ROW = ("row committed, quarantined copy still there", "promoted, job not ended")
INTAKE_LOST_NOTHING = ("moved, old name still there", "moved, no row", "row committed, note still there")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home for all points: each brings models of its own."""
    with Home(tmp_path_factory.mktemp("crash")) as started:
        yield started


def names_for(point: str) -> list[str]:
    """Two names for the models of a test."""
    slug = "".join(letter if letter.isalnum() else "-" for letter in point)
    return [f"{slug}-1", f"{slug}-2"]


def of(found: dict[str, Any], kind: str, name: str) -> list[dict[str, Any]]:
    """The rows of a kind with this name."""
    return [row for row in found[kind] if row["name"] == name]


def assert_old_or_new(found: dict[str, Any], name: str, *, done: bool) -> None:
    """After the kill: all of the old state, or all of the new one."""
    (item,) = of(found, "items", name)
    artifacts = of(found, "artifacts", name)
    if not done:
        assert item["status"] in UNDONE
        assert item["there"]
        assert artifacts == []
    else:
        assert item["status"] == "promoted"
        assert [(row["actual"], row["genuine"]) for row in artifacts] == [(item["sha256"], True)]
    assert "intact" in found["audit"]
    assert not found["locked"]


def assert_promoted(found: dict[str, Any], name: str, sha256: str) -> None:
    """In the registry exactly once, whole, with its verdicts, and nothing of it left elsewhere."""
    (item,) = of(found, "items", name)
    assert (item["status"], item["sha256"], item["stages"]) == ("promoted", sha256, COMPLETE), item
    (artifact,) = of(found, "artifacts", name)
    assert (artifact["status"], artifact["sha256"], artifact["actual"]) == ("promoted", sha256, sha256)
    assert artifact["genuine"]
    assert artifact["stages"] == COMPLETE
    assert not item["there"]


def assert_tidy(found: dict[str, Any]) -> None:
    """Nothing waits, and after the sweep the disk holds what the rows name and nothing else."""
    assert set(found["jobs"]) == {"succeeded"}
    assert set(found["store"]) - {".lock"} == {
        row["sha256"] for row in found["artifacts"] if row["status"] == "promoted"
    }
    assert set(found["quarantine"]) - {"incoming"} == {
        row["id"] for row in found["items"] if row["status"] != "promoted"
    }
    assert found["incoming"] == 0
    assert "intact" in found["audit"]
    assert not found["locked"]


def restarted(home: Home) -> dict[str, Any]:
    """What there is after a restart that worked off the queue, and the sweep of the next day."""
    home.do("restart")
    home.do("clear_up")
    found: dict[str, Any] = home.do("look")
    return found


def children_of(pid: int) -> list[psutil.Process]:
    """The confined children that a killed process had: their command line names it."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(pid) in (command := process.info["cmdline"] or []) and any("registry." in w for w in command)
    ]


# --- a scan and a promotion --------------------------------------------------------------------------


@pytest.mark.parametrize("point", [*STAGE_POINTS, *SCAN_POINTS])
def test_a_scan_that_is_killed_is_finished_after_a_restart_and_so_is_the_next(home: Home, point: str) -> None:
    first, second = names_for(point)
    digests = home.do("submit", names=[first, second])
    pid = home.kill("work", at=point)
    left = home.do("look")
    assert_old_or_new(left, first, done=point in AFTER_THE_ROW)
    assert_old_or_new(left, second, done=False)
    until(lambda: not children_of(pid), 5)
    found = restarted(home)
    assert_promoted(found, first, digests[0])
    assert_promoted(found, second, digests[1])
    assert_tidy(found)


@pytest.mark.parametrize("point", ["while the template is reviewed", "linked, not renamed"])
def test_the_bundled_model_survives_it_too(tmp_path: Path, point: str) -> None:
    with Home(tmp_path) as own:
        digests = own.do("submit", names=["smollm"], source=str(chat_model()))
        own.kill("work", at=point)
        assert_old_or_new(own.do("look"), "smollm", done=False)
        found = restarted(own)
    assert_promoted(found, "smollm", digests[0])
    assert_tidy(found)


def test_a_promotion_that_is_killed_twice_is_finished(home: Home) -> None:
    first, second = names_for("twice")
    digests = home.do("submit", names=[first, second])
    home.kill("work", at="linked, not renamed")
    home.kill("restart", at="renamed, no row")
    assert_old_or_new(home.do("look"), first, done=False)
    found = restarted(home)
    assert_promoted(found, first, digests[0])
    assert_promoted(found, second, digests[1])
    assert_tidy(found)


def test_a_scan_that_kills_its_process_every_time_is_given_up_and_the_next_goes_on(tmp_path: Path) -> None:
    with Home(tmp_path) as own:
        first, second = own.do("submit", names=["poison", "sound"])
        for _ in range(3):
            own.kill("restart", at="before static_scan")
        own.do("restart")
        found = own.do("look")
        assert sorted(found["jobs"]) == ["failed", "succeeded"]
        (poison,) = of(found, "items", "poison")
        assert (poison["status"], poison["there"], of(found, "artifacts", "poison")) == ("refused", True, [])
        assert_promoted(found, "sound", second)
        own.do("rescan", name="poison")
        own.do("restart")
        assert_promoted(own.do("look"), "poison", first)


# --- taking in ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", INTAKE_LOST_NOTHING)
def test_a_file_that_was_being_taken_in_is_adopted(home: Home, point: str) -> None:
    first, second = names_for(point)
    home.kill("submit", at=point, names=[first])
    (later,) = home.do("submit", names=[second])
    found = restarted(home)
    (item,) = of(found, "items", first)
    assert_promoted(found, first, item["sha256"])
    assert_promoted(found, second, later)
    assert_tidy(found)


def test_a_file_that_was_not_yet_taken_in_can_be_submitted_again(home: Home) -> None:
    (name, _other) = names_for("noted, not moved")
    home.kill("submit", at="noted, not moved", names=[name])
    left = home.do("look")
    assert of(left, "items", name) == []
    assert left["incoming"] == 1
    (digest,) = home.do("submit", names=[name])
    found = restarted(home)
    assert_promoted(found, name, digest)
    assert_tidy(found)


def test_no_intake_point_is_left_out() -> None:
    assert {*INTAKE_LOST_NOTHING, "noted, not moved"} == set(INTAKE_POINTS)


# --- taking out of use -------------------------------------------------------------------------------


def failed_and_killed(own: Home, point: str) -> dict[str, Any]:
    """What there is after a changed model was found, the finder killed at the point, and the box started again."""
    own.do("submit", names=["changed", "sound"])
    own.do("work")
    (artifact,) = of(own.do("look"), "artifacts", "changed")
    flip_byte(Path(artifact["path"]))
    own.kill("verify", at=point)
    return restarted(own)


@pytest.mark.parametrize("point", FAILING_POINTS)
def test_a_changed_model_stays_out_of_use_when_its_finder_is_killed(tmp_path: Path, point: str) -> None:
    with Home(tmp_path) as own:
        found = failed_and_killed(own, point)
    assert [row["status"] for row in of(found, "artifacts", "changed")] == ["failed"]
    assert [row["status"] for row in of(found, "items", "changed")] == ["refused", "promoted"]
    assert [row["status"] for row in of(found, "artifacts", "sound")] == ["promoted"]
    assert set(found["store"]) - {".lock"} == {of(found, "artifacts", "sound")[0]["sha256"]}
    assert "intact" in found["audit"]


@pytest.mark.parametrize("point", FAILING_POINTS)
def test_the_changed_file_is_kept_for_review_when_its_finder_is_killed(tmp_path: Path, point: str) -> None:
    with Home(tmp_path) as own:
        found = failed_and_killed(own, point)
    assert of(found, "items", "changed")[0]["there"]
    assert_tidy(found)


# --- the real box ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def box() -> Iterator[tuple[Box, str]]:
    """A box that has just begun with the bundled model, and a key for it."""
    with running(offset=19_000) as started:
        started.operator("olga")
        yield started, started.key("olga")


def bundled(http: httpx.Client) -> dict[str, Any]:
    """The bundled model's row in quarantine."""
    (item,) = http.get("/v1/quarantine").json()
    return dict(item)


def private_engine(box: Box) -> psutil.Process | None:
    """The process in which the behaviour stage runs the model."""
    for process in psutil.Process(box.pids()["jobs"]).children(recursive=True):
        if "secai_site.kernel.inference.worker" in process.cmdline():
            return process
    return None


def under_trial(http: httpx.Client) -> bool:
    """Whether the model is answering the questions of the behaviour stage."""
    progress = bundled(http)["progress"]
    stage = STAGES.index("behavior")
    return bool(
        progress and progress["stage"] == "behavior" and progress["fraction"] > (stage + 0.02) / len(STAGES)
    )


def verdict_of(item: dict[str, Any], name: str) -> dict[str, Any]:
    """What a stage said of an item."""
    return dict(next(stage for stage in item["stages"] if stage["name"] == name))


def test_a_trial_whose_process_is_killed_is_refused_in_words_or_done_again(box: tuple[Box, str]) -> None:
    started, key = box
    with started.http(key, "registry") as http:
        until(lambda: under_trial(http), 60)
        engine = private_engine(started)
        assert engine is not None
        engine.kill()
        item = until(lambda: (found := bundled(http))["status"] == "refused" and found, 30)
        assert verdict_of(item, "behavior")["verdict"] == "inconclusive"
        assert "The engine stopped in the middle of the trial" in item["reason"]
        assert http.get("/v1/models").json() == []

        assert http.post(f"/v1/quarantine/{item['id']}/rescan", json={}).status_code == 200
        until(lambda: under_trial(http), 60)
        engine = private_engine(started)
        assert engine is not None
        os.kill(jobs := started.pids()["jobs"], signal.SIGKILL)
        until(lambda: started.pids().get("jobs", jobs) != jobs, 20)
        until(lambda: not engine.is_running() or engine.status() == psutil.STATUS_ZOMBIE, 10)
        assert http.get("/v1/models").json() == []
        (model,) = until(lambda: http.get("/v1/models").json(), 150)
    assert {stage["verdict"] for stage in model["scan"]} == {"pass", "not_applicable"}
    assert "intact" in started.manage("audit_verify")
