"""Opens a model below the models root without following a link, and proves which bytes it has.

What is verified is the open descriptor; the engine loads through it, so that nothing can be swapped
between the check and the use.
"""

import os
import threading
from dataclasses import dataclass
from pathlib import Path

from secai_site.kernel.errors import NotFound
from secai_site.kernel.files import PathRefused, open_below, sha256_of
from secai_site.kernel.inference.errors import ModelIntegrityError, ModelPathRefused
from secai_site.kernel.inference.protocol import ModelFile

Fingerprint = tuple[int, int, int, int, int]


def fingerprint(descriptor: int) -> Fingerprint:
    """(device, inode, size, mtime_ns, ctime_ns): any write changes it, as ctime cannot be set back."""
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@dataclass(slots=True)
class OpenModel:
    """A verified model file; close it after loading."""

    descriptor: int
    seen: Fingerprint

    @property
    def path(self) -> str:
        """A path that leads to the verified descriptor, whatever now has its name."""
        return f"/proc/self/fd/{self.descriptor}"

    def unchanged(self) -> bool:
        """Whether nobody wrote to the file since it was hashed."""
        return fingerprint(self.descriptor) == self.seen

    def close(self) -> None:
        """Release the descriptor; more than once is fine."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class ModelStore:
    """The files below `root`, and which of them were hashed already. Safe to call from several threads."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve(strict=True)
        self._hashes: dict[Fingerprint, str] = {}
        self._hashing = threading.Lock()

    def open_verified(self, model: ModelFile) -> OpenModel:
        """Open and check a file; the whole of it is read only when its fingerprint is new.

        Raises `ModelPathRefused` or `ModelIntegrityError`.
        """
        descriptor = self._open(model.path)
        try:
            return OpenModel(descriptor, self._verify(descriptor, model))
        except BaseException:
            os.close(descriptor)
            raise

    def _verify(self, descriptor: int, model: ModelFile) -> Fingerprint:
        seen = fingerprint(descriptor)
        if self._hash(descriptor, seen) != model.sha256:
            raise ModelIntegrityError(f"the file of {model.name} is not the one that was admitted")
        if fingerprint(descriptor) != seen:
            raise ModelIntegrityError(f"the file of {model.name} changes while it is read")
        return seen

    def _hash(self, descriptor: int, seen: Fingerprint) -> str:
        with self._hashing:
            known = self._hashes.get(seen)
            if known is None:
                known = sha256_of(descriptor)
                if fingerprint(descriptor) == seen:
                    self._hashes[seen] = known
            return known

    def _open(self, path: str) -> int:
        try:
            return open_below(self._root, path)
        except NotFound:
            raise ModelIntegrityError("the model's file is missing") from None
        except PathRefused as error:
            raise ModelPathRefused(f"the model's path is refused: {error.message}") from None
