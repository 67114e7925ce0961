"""From token bytes to the text that may leave: whole code points, no stop string, few deltas."""

import codecs
from typing import Final

# A delta every 50 ms reads as fluent and keeps the frames per answer bounded; the first one goes at once.
DELTA_INTERVAL: Final = 0.050


class StopFilter:
    """Passes text on, but for a stop string and for a tail that may become one."""

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = stops
        self._held = ""

    def feed(self, text: str) -> tuple[str, bool]:
        """Give (text that may leave, whether a stop string was completed)."""
        if not self._stops:
            return text, False
        buffer = self._held + text
        found = min((at for stop in self._stops if (at := buffer.find(stop)) >= 0), default=-1)
        if found >= 0:
            self._held = ""
            return buffer[:found], True
        keep = max(_overlap(buffer, stop) for stop in self._stops)
        self._held = buffer[len(buffer) - keep :]
        return buffer[: len(buffer) - keep], False

    def flush(self) -> str:
        """The tail that was held back, once no more text can come."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`, less than the whole of it."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)


class TextStream:
    """Turns the bytes of tokens into deltas.

    Bytes that are no UTF-8 become U+FFFD; an unfinished code point waits for its rest and is dropped at
    the end. Text is handed out at once the first time, later after `interval` seconds.
    """

    def __init__(self, stops: tuple[str, ...] = (), *, interval: float = DELTA_INTERVAL) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._filter = StopFilter(stops)
        self._interval = interval
        self._waiting: list[str] = []
        self._last = float("-inf")
        self.stopped = False

    def feed(self, piece: bytes, now: float) -> str:
        """Add the bytes of a token; give the text due at `now` (seconds), or an empty string."""
        text, self.stopped = self._filter.feed(self._decode(piece))
        if text:
            self._waiting.append(text)
        if now - self._last < self._interval or not self._waiting:
            return ""
        self._last = now
        return self._take()

    def finish(self) -> str:
        """All the text that is left; a held tail only when no stop string ended the answer."""
        if not self.stopped:
            self._waiting.append(self._filter.flush())
        return self._take()

    def _take(self) -> str:
        text = "".join(self._waiting)
        self._waiting.clear()
        return text
