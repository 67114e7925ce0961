"""Reading from outside in a thread of its own, so that whoever waits for bytes can stop waiting at any time."""

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from airlock.contract import RemoteFile, UpstreamFailed
from secai_site.kernel.errors import ServiceError

log = logging.getLogger(__name__)

WAIT_S = 0.2
PIECES = 16  # that may lie between reader and writer, of some 64 KiB each

Item = RemoteFile | bytes | ServiceError | None


class Stream:
    """A remote file being read. Iterating gives the file first, then its bytes; `tick` is called while waiting.

    What goes wrong is raised from the iteration. `close` abandons the connection without waiting for it.
    """

    def __init__(
        self, connect: Callable[[], AbstractContextManager[RemoteFile]], tick: Callable[[], None]
    ) -> None:
        self._connect = connect
        self._tick = tick
        self._items: queue.Queue[Item] = queue.Queue(PIECES)
        self._closed = threading.Event()
        self._reader = threading.Thread(target=self._read, name="download", daemon=True)
        self._reader.start()

    def close(self) -> None:
        """Nobody wants more of it."""
        self._closed.set()

    def head(self) -> RemoteFile:
        """What is said of the file."""
        item = self._next()
        if not isinstance(item, RemoteFile):
            raise UpstreamFailed("The connection broke off.")
        return item

    def pieces(self) -> Iterator[bytes]:
        """Its bytes, as they come."""
        while isinstance(item := self._next(), bytes):
            yield item

    def _next(self) -> Item:
        while True:
            self._tick()
            try:
                item = self._items.get(timeout=WAIT_S)
            except queue.Empty:
                continue
            if isinstance(item, ServiceError):
                raise item
            return item

    def _read(self) -> None:
        try:
            with self._connect() as remote:
                if self._gives(remote):
                    all(self._gives(piece) for piece in remote.chunks)
            self._gives(None)
        except ServiceError as error:
            self._gives(error)
        except Exception:
            log.exception("a download's connection failed")
            self._gives(UpstreamFailed("The connection failed; see the log."))

    def _gives(self, item: Item) -> bool:
        """Hand an item over; False when nobody wants it any more."""
        while not self._closed.is_set():
            try:
                self._items.put(item, timeout=WAIT_S)
            except queue.Full:
                continue
            return True
        return False
