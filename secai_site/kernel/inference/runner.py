"""The engine thread: owns the context, runs the scheduler's plan, and reports events in batches."""

import collections
import concurrent.futures
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from secai_site.kernel.inference import llama
from secai_site.kernel.inference.errors import GenerationFailed
from secai_site.kernel.inference.loading import Loaded, Parked
from secai_site.kernel.inference.protocol import (
    Delta,
    Done,
    Event,
    Failed,
    FinishReason,
    State,
    Timings,
    Usage,
)
from secai_site.kernel.inference.sampler import PENALTY_WINDOW, Sampler
from secai_site.kernel.inference.scheduler import (
    Pace,
    Placement,
    Portion,
    Sequence,
    Slot,
    evictions,
    fits,
    place,
    plan_step,
)
from secai_site.kernel.inference.text import TextStream

PARKED_BYTES: Final = 256 * 1024 * 1024  # saved caches in RAM: about 11,000 tokens of the 135M demo model
WORTH_PARKING: Final = 64  # tokens; fewer are read again in less time than it takes to save them
ABORT_WORTH: Final = 16  # tokens in a step; a smaller step is over before an abort would show

T = TypeVar("T")
Deliver = Callable[[list[tuple[str, Event]]], None]


@dataclass(slots=True)
class Job:
    """One generation as the runner sees it; times are of `time.monotonic`."""

    sequence: Sequence
    sampler: Sampler
    text: TextStream
    arrived: float
    next_seq: int = 0
    started: float = 0.0
    first_token: float = 0.0
    cancelled: bool = False

    def usage(self) -> Usage:
        """What it has used so far."""
        sequence = self.sequence
        return Usage(sequence.prompt_length, sequence.cached, sequence.written)

    def timings(self, now: float) -> Timings:
        """How long it took; speed is of the tokens after the first."""
        first = self.first_token or now
        rate = (self.sequence.written - 1) / (now - first) if now > first else 0.0
        started = self.started or now
        return Timings(
            queued_ms=(started - self.arrived) * 1000,
            first_token_ms=(first - self.arrived) * 1000,
            total_ms=(now - self.arrived) * 1000,
            tokens_per_second=max(rate, 0.0),
        )


class Runner(threading.Thread):
    """Commands come in from any thread; `deliver` is called from this one, once per step at most."""

    def __init__(self, deliver: Deliver) -> None:
        super().__init__(name="engine", daemon=True)
        self._deliver = deliver
        self._wake = threading.Condition()
        self._commands: collections.deque[Callable[[], None]] = collections.deque()
        self._waiting: collections.deque[Job] = collections.deque()
        self._jobs: dict[str, Job] = {}
        self._events: list[tuple[str, Event]] = []
        self._step_tokens = 0
        self._pace = Pace()
        self._tick = 0
        self._stopping = False
        self.loaded: Loaded | None = None
        self.tokens_per_second = 0.0

    def call(self, function: Callable[[], T]) -> "concurrent.futures.Future[T]":
        """Run `function` in the engine thread between two steps."""
        future: concurrent.futures.Future[T] = concurrent.futures.Future()

        def command() -> None:
            try:
                future.set_result(function())
            except BaseException as error:  # handed to the caller, whatever it is
                future.set_exception(error)

        self._enqueue(command)
        return future

    def submit(self, job: Job) -> None:
        """Queue a job for a slot; its events come through `deliver`."""
        self._enqueue(lambda: self._waiting.append(job))

    def cancel(self, generation_id: str) -> None:
        """End a job between two steps, or in the middle of a long one."""
        self._enqueue(lambda: self._cancel(generation_id))
        loaded = self.loaded
        if loaded is not None and self._step_tokens > ABORT_WORTH:
            loaded.context.abort()

    def stop(self) -> None:
        """Leave the loop soon; what runs is dropped."""
        self._stopping = True
        loaded = self.loaded
        if loaded is not None:
            loaded.context.abort()
        self._enqueue(lambda: None)

    def _enqueue(self, command: Callable[[], None]) -> None:
        with self._wake:
            self._commands.append(command)
            self._wake.notify()

    def run(self) -> None:
        """The loop: commands, admissions, one step, events."""
        while not self._stopping:
            idle = not self._jobs and not self._waiting
            if idle:
                self._save_while_idle()
            self._obey(wait=idle)
            if self.loaded is not None:
                self._admit(self.loaded)
                self._step(self.loaded)
            if self._events:
                events, self._events = self._events, []
                self._deliver(events)

    def _obey(self, *, wait: bool) -> None:
        if wait:
            with self._wake:
                while not self._commands:
                    self._wake.wait()
        while self._commands:
            self._commands.popleft()()

    # -- admission ---------------------------------------------------------------------------------------

    def _admit(self, loaded: Loaded) -> None:
        while self._waiting:
            job = self._waiting[0]
            if not fits(loaded.slots, job.sequence.end, loaded.cells):
                return
            where = place(loaded.slots, job.sequence.tokens, [entry.tokens for entry in loaded.parked])
            if where is None:
                return
            self._waiting.popleft()
            self._start(loaded, job, where)

    def _start(self, loaded: Loaded, job: Job, where: Placement) -> None:
        slot, sequence = where.slot, job.sequence
        taken = loaded.parked[where.parked] if where.parked is not None else None
        for victim in evictions(loaded.slots, where, sequence.end, loaded.cells):
            self._park(loaded, victim)
        self._make_compact(loaded, where)
        sequence.fed = sequence.cached = self._reuse(loaded, where, taken)
        crowded = sequence.end + sum(s.claim for s in loaded.slots if s is not slot) > loaded.cells
        if crowded and where.source is not None and where.source.sequence is None:
            self._empty(loaded, where.source)
        slot.cached, slot.sequence = [], sequence
        self._jobs[sequence.id] = job
        job.started = time.monotonic()
        self._emit(sequence.id, State("reading", progress=sequence.fed / sequence.prompt_length))

    def _reuse(self, loaded: Loaded, where: Placement, taken: Parked | None) -> int:
        """Bring the common prefix into the slot; gives the number of tokens that are there."""
        slot, context = where.slot, loaded.context
        if where.source is None and taken is None:
            if where.keep == 0:
                self._park(loaded, slot)
            return context.keep(slot.index, where.keep)
        self._park(loaded, slot)
        if where.source is not None:
            return context.copy(where.source.index, slot.index, where.keep)
        if taken is None or not context.restore(slot.index, taken.state):
            return context.keep(slot.index, 0)
        return context.keep(slot.index, where.keep)

    def _park(self, loaded: Loaded, slot: Slot) -> None:
        """Save the cache of an idle slot in RAM if it is worth it, and empty the slot."""
        self._save(loaded, slot)
        self._empty(loaded, slot)

    def _save(self, loaded: Loaded, slot: Slot) -> None:
        """Keep a copy of an idle slot's cache in RAM, in place of the shorter ones that it continues."""
        tokens = slot.cached
        if len(tokens) < WORTH_PARKING or _is_parked(loaded, tokens):
            return
        others = [entry for entry in loaded.parked if entry.tokens != tokens[: len(entry.tokens)]]
        loaded.parked = [*others, Parked(tokens, loaded.context.save(slot.index))]
        while sum(len(entry.state) for entry in loaded.parked) > PARKED_BYTES:
            loaded.parked.pop(0)

    def _make_compact(self, loaded: Loaded, where: Placement) -> None:
        """Empty idle slots that have a copy in RAM: attention looks at all cells up to the last used one,
        and to bring 1,000 tokens back takes 3 ms."""
        for slot in loaded.slots:
            spared = slot is where.slot or slot is where.source
            if slot.sequence is None and not spared and _is_parked(loaded, slot.cached):
                self._empty(loaded, slot)

    def _save_while_idle(self) -> None:
        """With nothing to do, copy the caches that have no copy yet (12 ms for 1,000 tokens)."""
        for slot in self.loaded.slots if self.loaded is not None else ():
            if self.loaded is not None and slot.sequence is None and not self._commands:
                self._save(self.loaded, slot)

    def _empty(self, loaded: Loaded, slot: Slot) -> None:
        loaded.context.keep(slot.index, 0)
        slot.cached = []

    # -- one step ----------------------------------------------------------------------------------------

    def _step(self, loaded: Loaded) -> None:
        shared, alone = self._pace.chunk(alone=False), self._pace.chunk(alone=True)
        plan = plan_step(loaded.slots, llama.BATCH, shared, alone)
        if not plan:
            return
        parts: list[tuple[int, list[int], int, bool]] = []
        for portion in plan:
            sequence = _sequence(portion)
            stop = portion.start + portion.count
            parts.append(
                (
                    portion.slot.index,
                    sequence.tokens[portion.start : stop],
                    portion.start,
                    stop == len(sequence.tokens),
                )
            )
        self._step_tokens = sum(portion.count for portion in plan)
        began = time.monotonic()
        code, lasts = loaded.context.decode(parts)
        now = time.monotonic()
        if code != llama.DECODE_OK:
            self._roll_back(loaded, plan, code)
            return
        self._pace.observe(self._step_tokens, now - began)
        writers = 0
        for portion, last, part in zip(plan, lasts, parts, strict=True):
            writers += part[3]
            self._advance(loaded, portion, last, output=part[3])
        if writers == len(plan):
            rate = writers / max(now - began, 1e-6)
            self.tokens_per_second = 0.9 * (self.tokens_per_second or rate) + 0.1 * rate

    def _roll_back(self, loaded: Loaded, plan: list[Portion], code: int) -> None:
        """Undo a step that was aborted, to be planned again; end everything when it failed."""
        for portion in plan:
            sequence = _sequence(portion)
            sequence.fed = loaded.context.keep(portion.slot.index, sequence.fed)
        if code == llama.DECODE_ABORTED:
            return
        for portion in plan:
            error = GenerationFailed(f"the engine could not go on (code {code})")
            self._finish(loaded, portion.slot, Failed.from_error(error))

    def _advance(self, loaded: Loaded, portion: Portion, last: int, *, output: bool) -> None:
        sequence = _sequence(portion)
        sequence.fed += portion.count
        job = self._jobs[sequence.id]
        if not output:
            self._emit(sequence.id, State("reading", progress=sequence.fed / sequence.prompt_length))
            return
        token = job.sampler.sample(loaded.context, last, sequence.tokens[-PENALTY_WINDOW:])
        now = time.monotonic()
        if not job.first_token:
            job.first_token = now
            self._emit(sequence.id, State("writing"))
        if loaded.model.is_end(token):
            self._conclude(loaded, portion.slot, job, "stop")
            return
        sequence.tokens.append(token)
        self._say(job, job.text.feed(loaded.model.piece(token), now))
        if job.text.stopped:
            self._conclude(loaded, portion.slot, job, "stop")
        elif len(sequence.tokens) >= sequence.end:
            self._conclude(loaded, portion.slot, job, "length")

    def _say(self, job: Job, text: str) -> None:
        if text:
            self._emit(job.sequence.id, Delta(job.next_seq, text))
            job.next_seq += 1

    def _emit(self, generation_id: str, event: Event) -> None:
        self._events.append((generation_id, event))

    # -- endings -----------------------------------------------------------------------------------------

    def _conclude(self, loaded: Loaded, slot: Slot, job: Job, reason: FinishReason) -> None:
        self._say(job, job.text.finish())
        self._finish(loaded, slot, Done(reason, job.usage(), job.timings(time.monotonic())))

    def _finish(self, loaded: Loaded, slot: Slot, event: Done | Failed) -> None:
        """Take the sequence out of its slot, which keeps its cache for the next turn."""
        sequence = slot.sequence
        if sequence is None:
            return
        self._tick += 1
        slot.cached, slot.used, slot.sequence = sequence.tokens[: sequence.fed], self._tick, None
        job = self._jobs.pop(sequence.id)
        job.sampler.close()
        self._emit(sequence.id, event)

    def _cancel(self, generation_id: str) -> None:
        job = self._jobs.get(generation_id)
        if job is not None and self.loaded is not None:
            slot = next(s for s in self.loaded.slots if s.sequence is job.sequence)
            self._conclude(self.loaded, slot, job, "cancelled")
            return
        for job in [job for job in self._waiting if job.sequence.id == generation_id]:
            self._waiting.remove(job)
            job.sampler.close()
            self._emit(generation_id, Done("cancelled", job.usage(), job.timings(time.monotonic())))

    # -- the model, called through `call` ----------------------------------------------------------------

    def load(self, bring_in: Callable[[], Loaded]) -> Loaded:
        """Replace the model in memory; when `bring_in` raises, nothing is loaded then."""
        self.unload()
        self.loaded = bring_in()
        self._pace = Pace()
        return self.loaded

    def unload(self) -> None:
        """End what runs as "cancelled" and free the memory."""
        for generation_id in [*self._jobs, *(job.sequence.id for job in self._waiting)]:
            self._cancel(generation_id)
        loaded, self.loaded = self.loaded, None
        if loaded is not None:
            loaded.close()
        self.tokens_per_second = 0.0


def _is_parked(loaded: Loaded, tokens: list[int]) -> bool:
    return any(entry.tokens[: len(tokens)] == tokens for entry in loaded.parked)


def _sequence(portion: Portion) -> Sequence:
    sequence = portion.slot.sequence
    if sequence is None:
        raise RuntimeError("a portion was planned for an idle slot")
    return sequence
