"""kill -9 of each process in turn while a chat runs: it comes back, and nothing is lost."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest
from websockets.sync.client import connect

from secai_site.listeners import LISTENERS
from tests.support.box import Box, running, until

pytestmark = pytest.mark.e2e
LONG = "Tell a very long story about a lighthouse keeper, with many chapters."


@pytest.fixture(scope="module")
def victim() -> Iterator[tuple[Box, str]]:
    """A box to break, and a key for it."""
    with running(offset=16_000) as box:
        box.operator("olga")
        key = box.key("olga")
        box.wait_for_model(key)
        yield box, key


def begin(box: Box, key: str) -> tuple[str, str]:
    """Ask for a long answer and leave after some pieces; returns conversation and message."""
    url = f"ws://localhost:{box.port()}/ws/chat/new"
    with connect(url, additional_headers={"Authorization": f"Bearer {key}"}) as socket:
        socket.send(json.dumps({"type": "send", "text": LONG, "max_tokens": 300, "temperature": 0}))
        conversation = message = ""
        while True:
            frame = json.loads(socket.recv(timeout=60))
            if frame["type"] == "started":
                conversation, message = frame["conversation_id"], frame["message"]["id"]
            if frame["type"] == "delta" and frame["seq"] == 4:
                return conversation, message


def healthy(box: Box, name: str) -> bool:
    """Whether a process answers again."""
    if name in LISTENERS:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{box.url(name)}/health", timeout=2).status_code == 200
        return False
    return name in box.pids()


def answer_of(http: httpx.Client, conversation: str) -> dict[str, Any] | None:
    """The answer once it has ended."""
    try:
        messages = http.get(f"/api/conversations/{conversation}").json()["messages"]
    except httpx.HTTPError:
        return None
    last: dict[str, Any] = messages[1]
    return last if last["state"] not in ("queued", "writing") else None


@pytest.mark.parametrize("name", [*LISTENERS, "jobs", "engine"])
def test_a_killed_process_comes_back_and_no_conversation_is_lost(victim: tuple[Box, str], name: str) -> None:
    box, key = victim
    conversation, _message = begin(box, key)
    pid = box.pids()[name]
    os.kill(pid, signal.SIGKILL)
    until(lambda: box.pids().get(name, pid) != pid and healthy(box, name), 20)
    with box.http(key) as http:
        answer = until(lambda: answer_of(http, conversation), 60)
        assert len(answer["content"]) > 20
        if name == "engine":
            assert answer["state"] == "interrupted"
            assert answer["error_code"] == "engine.down"
        else:
            assert answer["state"] == "complete", answer
        again = {"message": "Go on.", "conversation_id": conversation, "max_tokens": 8}
        reply = until(lambda: (r := http.post("/api/chat", json=again)).status_code == 200 and r, 30)
        assert reply.json()["message"]["content"]
    assert "intact" in box.manage("audit_verify")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_answer_keeps_its_text_when_the_whole_box_goes_down(number: signal.Signals) -> None:
    with running(offset=17_000) as box:
        box.operator("olga")
        key = box.key("olga")
        box.wait_for_model(key)
        conversation, _message = begin(box, key)
        with box.http(key) as http:
            path = f"/api/conversations/{conversation}"
            kept = until(lambda: http.get(path).json()["messages"][1]["content"])
        family = box.descendants()
        box.process.send_signal(number)
        box.process.wait(timeout=20)
        psutil.wait_procs(family, timeout=10)
        with running(box.home, offset=17_000) as again, again.http(key) as http:
            answer = until(lambda: answer_of(http, conversation), 30)
            assert answer["state"] == "interrupted"
            assert answer["content"].startswith(kept)


def test_a_process_that_hangs_is_replaced(victim: tuple[Box, str]) -> None:
    box, _key = victim
    pid = box.pids()["search"]
    until(lambda: psutil.Process(pid).create_time() < time.time() - 31, 40)
    os.kill(pid, signal.SIGSTOP)
    until(lambda: box.pids().get("search", pid) != pid and healthy(box, "search"), 90)
    assert "does not answer any more" in box.log


def test_a_second_box_in_the_same_home_leaves_the_first_alone(victim: tuple[Box, str]) -> None:
    box, key = victim
    with (
        pytest.raises(AssertionError, match="runs already"),
        running(box.home, offset=18_000, log="second.log"),
    ):
        pass
    with box.http(key) as http:
        assert http.get("/api/models").status_code == 200


def test_a_killed_supervisor_leaves_no_process() -> None:
    with running(offset=17_000, SECAI_DEMO_MODEL="0") as box:
        family = box.descendants()
        assert len(family) >= len(LISTENERS) + 2
        box.process.kill()
        gone, alive = psutil.wait_procs(family, timeout=10)
        assert alive == []
        assert len(gone) == len(family)


def test_a_stopped_box_leaves_no_process_and_starts_again_with_its_state() -> None:
    with running(offset=17_000, SECAI_DEMO_MODEL="0") as box:
        box.operator("olga")
        family = box.descendants()
        box.process.send_signal(signal.SIGINT)
        assert box.process.wait(timeout=20) == 0
        assert psutil.wait_procs(family, timeout=2)[1] == []
        with running(box.home, offset=17_000, SECAI_DEMO_MODEL="0") as again:
            assert "setup?code" not in again.log
            with again.http(again.key("olga")) as http:
                assert http.get("/api/audit/verify").json()["ok"]


def test_all_listeners_run_in_one_process_too() -> None:
    with running(offset=17_000, arguments=("--single",), SECAI_DEMO_MODEL="0") as box:
        for name in LISTENERS:
            assert httpx.get(f"{box.url(name)}/health").json()["service"] == name
        assert len(box.pids()) == 3


def test_a_second_box_on_the_same_ports_says_so() -> None:
    first = running(offset=17_000, SECAI_DEMO_MODEL="0")
    second = running(offset=17_000, SECAI_DEMO_MODEL="0")
    with first, pytest.raises(AssertionError, match="in use"), second:
        pass
