"""Bounded reading from a descriptor: never past a limit, never a whole file in memory.

Everything goes through `os.pread`, so the descriptor's own position is neither used nor moved.
"""

import os
import struct
from collections.abc import Iterator

from registry.quarantine.formats.errors import FormatError

WINDOW = 1 << 20
U32 = struct.Struct("<I")
U64 = struct.Struct("<Q")


class Reader:
    """The first `size` bytes of an open regular file."""

    def __init__(self, fd: int, size: int, prefix: str) -> None:
        self.fd = fd
        self.size = size
        self.prefix = prefix

    def at(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`; raises `FormatError` (`….truncated`) if there are fewer."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise self.truncated(offset)
        parts: list[bytes] = []
        missing = length
        while missing:
            part = os.pread(self.fd, missing, offset + length - missing)
            if not part:
                raise self.truncated(offset + length - missing)
            parts.append(part)
            missing -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def chunks(self, start: int, end: int, step: int = WINDOW) -> Iterator[bytes]:
        """The bytes from `start` up to `end`, at most `step` at a time."""
        for offset in range(start, end, step):
            yield self.at(offset, min(step, end - offset))

    def first_nonzero(self, start: int, end: int) -> int | None:
        """The offset of the first byte that is not zero in a region, or `None`."""
        offset = start
        for chunk in self.chunks(start, end):
            rest = chunk.lstrip(b"\0")
            if rest:
                return offset + len(chunk) - len(rest)
            offset += len(chunk)
        return None

    def truncated(self, offset: int) -> FormatError:
        """The error for a file that ends too early."""
        return FormatError(
            f"The file ends too early: it has {self.size:,} bytes and more are needed at byte {offset:,}",
            min(max(offset, 0), self.size),
            f"{self.prefix}.truncated",
        )


class Cursor:
    """Little-endian fields one after the other, from a window of 1 MiB over the header.

    `limit` bounds the header in bytes: a file that goes on past it is refused (`….header.size`).
    """

    def __init__(self, reader: Reader, limit: int) -> None:
        self.reader = reader
        self.limit = min(limit, reader.size)
        self.capped = limit < reader.size
        self._window = b""
        self._base = 0
        self._at = 0

    @property
    def offset(self) -> int:
        """Where the next field starts, in bytes from the start of the file."""
        return self._base + self._at

    @property
    def left(self) -> int:
        """Bytes that the header may still take."""
        return self.limit - self.offset

    def take(self, length: int) -> bytes:
        """The next `length` bytes."""
        self._need(length)
        data = self._window[self._at : self._at + length]
        self._at += length
        return data

    def skip(self, length: int) -> None:
        """Pass over `length` bytes without reading them."""
        if length > self.left:
            raise self._beyond()
        self._at += length

    def u32(self) -> int:
        """The next unsigned 32-bit number."""
        return int(U32.unpack(self.take(4))[0])

    def u64(self) -> int:
        """The next unsigned 64-bit number."""
        return int(U64.unpack(self.take(8))[0])

    def skip_strings(self, count: int, longest: int, too_long: str) -> None:
        """Pass over `count` strings (u64 length + bytes), each of at most `longest` bytes.

        Raises `FormatError` with the code `too_long` for a longer one. Memory: one window.
        """
        unpack = U64.unpack_from
        for _ in range(count):
            if self._at + 8 > len(self._window):
                self._need(8)
            (length,) = unpack(self._window, self._at)
            if length > longest:
                raise FormatError(
                    f"A text in a list announces {length:,} bytes; at most {longest:,} are allowed",
                    self.offset,
                    too_long,
                )
            self._at += 8 + length
        if self.left < 0:
            raise self._beyond()

    def _need(self, length: int) -> None:
        """Make sure that the window holds the next `length` bytes."""
        if length > self.left:
            raise self._beyond()
        if self._at + length <= len(self._window):
            return
        self._base, self._at = self.offset, 0
        self._window = self.reader.at(self._base, min(max(length, WINDOW), self.left))

    def _beyond(self) -> FormatError:
        if not self.capped:
            return self.reader.truncated(self.limit)
        return FormatError(
            f"The header is longer than {self.limit:,} bytes, the most that is allowed",
            self.limit,
            f"{self.reader.prefix}.header.size",
        )
