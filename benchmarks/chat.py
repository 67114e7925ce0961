"""A chat through the whole stack against the limit: tokens per second of the websocket ÷ a raw decode loop.

    python benchmarks/chat.py [TOKENS]

The raw loop (llama.cpp's low-level interface, one sequence, greedy, 128 tokens) and the box take turns in one run. Also
printed: the time to the first token as the websocket's client sees it, and the bytes on the wire ÷ the bytes of
the answer, for a short and a long answer.
"""

import asyncio
import json
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from websockets.asyncio.client import ClientConnection, connect

from benchmarks.engine import demo_model, raw_in_process
from tests.support.box import Box, running

ROUNDS = 7
TARGET = 0.90
WIRE_TARGET = 6.0
PROMPT = "Write a long story about a lighthouse keeper and tell every detail."


class Counting(ClientConnection):
    """Counts what arrives from the network."""

    received = 0

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        super().data_received(data)


@dataclass(frozen=True)
class Answer:
    """One answer: tokens, seconds to the first and from the first to the last piece, bytes of text and of wire."""

    tokens: int
    first_s: float
    writing_s: float
    text_bytes: int
    wire_bytes: int

    @property
    def speed(self) -> float:
        """Tokens per second, the first one not counted."""
        return (self.tokens - 1) / self.writing_s


async def ask(box: Box, key: str, tokens: int) -> Answer:
    """Ask in a new conversation and take the answer."""
    headers = {"Authorization": f"Bearer {key}"}
    url = f"ws://localhost:{box.port()}/ws/chat/new"
    async with connect(url, additional_headers=headers, create_connection=Counting) as socket:
        assert isinstance(socket, Counting)
        before = socket.received
        began = time.perf_counter()
        await socket.send(
            json.dumps({"type": "send", "text": PROMPT, "max_tokens": tokens, "temperature": 0})
        )
        first = last = 0.0
        text = 0
        while True:
            frame: dict[str, Any] = json.loads(await socket.recv())
            if frame["type"] == "delta":
                last = time.perf_counter()
                first = first or last
                text += len(frame["text"].encode())
            elif frame["type"] == "error":
                raise SystemExit(frame["error"])
            elif frame["type"] == "done":
                used = frame["usage"]["completion_tokens"]
                return Answer(used, first - began, last - first, text, socket.received - before)


async def measure(tokens: int) -> None:
    """Take turns and print."""
    with running() as box:
        box.operator("bench")
        key = box.key("bench")
        box.wait_for_model(key)
        await ask(box, key, 8)
        answers, pairs = [], []
        for _ in range(ROUNDS):
            limit = await asyncio.to_thread(raw_in_process, str(demo_model()), 1)
            answers.append(await ask(box, key, tokens))
            pairs.append((answers[-1].speed, limit))
        report(pairs, answers)
        for length in (100, 1000):
            answer = await ask(box, key, length)
            ratio = answer.wire_bytes / answer.text_bytes
            print(
                f"wire: {answer.wire_bytes} bytes for {answer.text_bytes} bytes of answer ({answer.tokens} tokens),"
                f" ratio {ratio:.2f} (target at most {WIRE_TARGET})"
            )


def report(pairs: list[tuple[float, float]], answers: list[Answer]) -> None:
    """Print speed and first-token time."""
    ratio = statistics.median(chat / limit for chat, limit in pairs)
    chat, limit = (max(column) for column in zip(*pairs, strict=True))
    print(
        f"one chat: best {chat:.1f} of raw {limit:.1f} tok/s, ratio of the best {chat / limit:.3f},"
        f" median of {len(pairs)} pairs {ratio:.3f} (target {TARGET})"
    )
    first = statistics.median(answer.first_s for answer in answers)
    print(f"first token, prompt cached: {first * 1000:.0f} ms")


if __name__ == "__main__":
    asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 128))
