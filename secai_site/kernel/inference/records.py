"""What generations have said: kept while they run and for a while after, so that anyone can attach."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Final

from secai_site.kernel.inference.errors import GenerationExists, GenerationUnknown
from secai_site.kernel.inference.protocol import Delta, Done, Event, Failed, State

KEEP_SECONDS: Final = 600.0
KEEP_COUNT: Final = 256
KEEP_CHARACTERS: Final = 32 * 1024 * 1024


class Record:
    """One generation: its deltas so far, its last state, its final event."""

    def __init__(self, generation_id: str) -> None:
        self.id = generation_id
        self.deltas: list[Delta] = []
        self.state: State | None = None
        self.final: Done | Failed | None = None
        self.size = 0
        self.finished_at = 0.0
        self._changed = asyncio.Event()

    def add(self, event: Event) -> bool:
        """Take note of an event, nothing follows a final one; True when this was it."""
        if self.final is not None:
            return False
        if isinstance(event, Delta):
            self.deltas.append(event)
            self.size += len(event.text)
        elif isinstance(event, State):
            self.state = event
        else:
            self.final = event
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        return self.final is not None

    async def finished(self) -> Done | Failed:
        """Wait for the final event."""
        while self.final is None:
            await self._changed.wait()
        return self.final

    async def follow(self, after_seq: int = -1) -> AsyncIterator[Event]:
        """The deltas after `after_seq` and the states from now on, to the final event."""
        position, state = max(after_seq + 1, 0), None
        while True:
            if self.state is not state and self.final is None:
                state = self.state
                if state is not None:
                    yield state
            while position < len(self.deltas):
                delta = self.deltas[position]
                position += 1
                yield delta
            if self.final is not None and position >= len(self.deltas):
                yield self.final
                return
            changed = self._changed
            if self.state is state and position >= len(self.deltas) and self.final is None:
                await changed.wait()


class Records:
    """All generations that run, and the finished ones within the limits of age, number and size."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._records: dict[str, Record] = {}
        self._finished: dict[str, Record] = {}
        self._finished_size = 0

    def open(self, generation_id: str) -> Record:
        """A new record; raises `GenerationExists`."""
        self.forget_old()
        if generation_id in self._records:
            raise GenerationExists("this generation id was used before")
        record = self._records[generation_id] = Record(generation_id)
        return record

    def find(self, generation_id: str) -> Record:
        """The record of a generation; raises `GenerationUnknown`."""
        self.forget_old()
        record = self._records.get(generation_id)
        if record is None:
            raise GenerationUnknown("no such generation is running or remembered")
        return record

    def add(self, generation_id: str, event: Event) -> None:
        """Take note of an event of a running generation."""
        record = self._records[generation_id]
        if record.add(event):
            record.finished_at = self._clock()
            self._finished[generation_id] = record
            self._finished_size += record.size
            self.forget_old()

    def forget_old(self) -> None:
        """Drop finished generations, oldest first, beyond the limits; the newest one is always kept."""
        oldest = self._clock() - KEEP_SECONDS
        for generation_id, record in list(self._finished.items()):
            over = len(self._finished) > KEEP_COUNT or self._finished_size > KEEP_CHARACTERS
            newest = len(self._finished) == 1
            if record.finished_at > oldest and (newest or not over):
                return
            del self._finished[generation_id], self._records[generation_id]
            self._finished_size -= record.size
