"""Chat with the real model through the real box."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.box import Box, until

pytestmark = pytest.mark.e2e
LONG = "Tell a very long story about a lighthouse keeper, with many chapters."


def socket_of(box: Box, key: str, conversation: str = "new") -> connect:
    """A websocket of the chat."""
    url = f"ws://localhost:{box.port()}/ws/chat/{conversation}"
    return connect(url, additional_headers={"Authorization": f"Bearer {key}"})


async def frames(socket: ClientConnection) -> AsyncIterator[dict[str, Any]]:
    """The frames up to and with the last one of an answer."""
    while True:
        frame = json.loads(await asyncio.wait_for(socket.recv(), 60))
        yield frame
        if frame["type"] in ("done", "error"):
            return


def test_a_complete_answer(box: Box, key: str) -> None:
    with box.http(key) as http:
        answer = http.post("/api/chat", json={"message": "Say hello.", "max_tokens": 12, "seed": 1}).json()
        assert answer["message"]["role"] == "assistant"
        assert answer["message"]["content"].strip()
        assert answer["model"] == "SmolLM2-135M-Instruct-Q4_1"
        assert 0 < answer["usage"]["completion_tokens"] <= 12
        assert answer["timings"]["tokens_per_second"] > 0
        kept = http.get(f"/api/conversations/{answer['conversation_id']}").json()
        assert [m["role"] for m in kept["messages"]] == ["user", "assistant"]
        assert kept["messages"][1]["content"] == answer["message"]["content"]


def test_a_streamed_answer_is_numbered_without_gaps(box: Box, key: str) -> None:
    pieces, last = [], None
    with (
        box.http(key) as http,
        http.stream("POST", "/api/chat", json={"message": "Count to ten.", "stream": True}) as r,
    ):
        assert r.headers["content-type"] == "text/event-stream"
        event = ""
        for line in r.iter_lines():
            if line.startswith("event: "):
                event = line.removeprefix("event: ")
            elif line.startswith("data: "):
                data = json.loads(line.removeprefix("data: "))
                if event == "done":
                    last = data
                else:
                    pieces.append(data)
    assert [piece["seq"] for piece in pieces] == list(range(len(pieces)))
    assert last is not None
    assert "content" not in last["message"]
    with box.http(key) as http:
        kept = http.get(f"/api/conversations/{last['conversation_id']}").json()
    assert kept["messages"][1]["content"] == "".join(piece["text"] for piece in pieces)


def test_generate_keeps_nothing(box: Box, key: str) -> None:
    with box.http(key) as http:
        before = http.get("/api/conversations").json()
        answer = http.post("/api/generate", json={"prompt": "The sky is", "max_tokens": 5}).json()
        assert answer["text"]
        assert answer["finish_reason"] in ("length", "stop")
        assert http.get("/api/conversations").json() == before


async def test_an_answer_resumes_after_a_lost_connection(box: Box, key: str) -> None:
    seen: list[str] = []
    async with socket_of(box, key) as socket:
        await socket.send(json.dumps({"type": "send", "text": LONG, "max_tokens": 200}))
        async for frame in frames(socket):
            if frame["type"] == "started":
                conversation, message = frame["conversation_id"], frame["message"]["id"]
            if frame["type"] == "delta":
                seen.append(frame["text"])
                if len(seen) == 5:
                    break
        socket.transport.abort()
    async with socket_of(box, key, conversation) as socket:
        await socket.send(json.dumps({"type": "resume", "message_id": message, "seq": len(seen) - 1}))
        async for frame in frames(socket):
            if frame["type"] == "delta":
                assert frame["seq"] == len(seen)
                seen.append(frame["text"])
    assert frame["type"] == "done"
    with box.http(key) as http:
        kept = until(
            lambda: (
                (m := http.get(f"/api/conversations/{conversation}").json()["messages"][1])["state"]
                == "complete"
                and m
            )
        )
    assert kept["content"] == "".join(seen)


async def test_stop_frees_the_engine(box: Box, key: str) -> None:
    async with socket_of(box, key) as socket:
        await socket.send(json.dumps({"type": "send", "text": LONG, "max_tokens": 2000}))
        async for frame in frames(socket):
            if frame["type"] == "delta" and frame["seq"] == 3:
                await socket.send(json.dumps({"type": "stop", "message_id": frame["message_id"]}))
    assert (frame["type"], frame["finish_reason"]) == ("done", "cancelled")
    with box.http(key) as http:
        until(lambda: http.get("/api/status").json()["engine"]["active"] == 0, 3)


async def test_a_revoked_key_ends_its_open_chat(box: Box) -> None:
    passing = box.key("olga", "chat", "read")
    async with socket_of(box, passing) as socket:
        await socket.send(json.dumps({"type": "send", "text": LONG, "max_tokens": 3000}))
        await socket.recv()
        await asyncio.to_thread(box.manage, "apikey", "revoke", passing[: len("secai_") + 8])
        began = time.monotonic()
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await asyncio.wait_for(socket.recv(), 10)
        assert time.monotonic() - began < 2
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4401
    with box.http(box.key("olga")) as http:
        until(lambda: http.get("/api/status").json()["engine"]["active"] == 0, 3)
