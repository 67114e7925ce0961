"""The bytes of an unfinished download on the disk, with their digest; one run at a time may write them."""

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from secai_site.kernel.errors import StorageFull

CHUNK = 1024 * 1024


class PartFile:
    """An open file that grows at its end; `size` bytes are in it and in the digest. Close it after use."""

    def __init__(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)
        self._digest = hashlib.sha256()
        self.size = 0

    def close(self) -> None:
        """Let go of it; the lock goes with it."""
        os.close(self._descriptor)

    def lock(self) -> bool:
        """Whether no other run has it open for writing; the kernel frees the lock of a killed one."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def restore(self, kept: int, tick: Callable[[], None]) -> None:
        """Take up the first `kept` bytes (what was not flushed is not trusted), calling `tick` between pieces."""
        kept = min(kept, os.fstat(self._descriptor).st_size)
        os.ftruncate(self._descriptor, kept)
        while self.size < kept:
            data = os.pread(self._descriptor, min(CHUNK, kept - self.size), self.size)
            self._digest.update(data)
            self.size += len(data)
            tick()

    def restart(self) -> None:
        """Empty it."""
        os.ftruncate(self._descriptor, 0)
        self._digest, self.size = hashlib.sha256(), 0

    def append(self, data: bytes) -> None:
        """Add bytes; raises `StorageFull`."""
        piece = memoryview(data)
        try:
            while piece:
                written = os.pwrite(self._descriptor, piece, self.size)
                self._digest.update(piece[:written])
                self.size += written
                piece = piece[written:]
        except OSError as error:
            raise _known(error) from error

    def flush(self) -> None:
        """Have all of it on the disk; raises `StorageFull`."""
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise _known(error) from error

    @property
    def sha256(self) -> str:
        """The digest of what is in it, hex."""
        return self._digest.hexdigest()


def _known(error: OSError) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull(
            "The disk is full. What has arrived is kept; make room and take the download up again."
        )
    return error
