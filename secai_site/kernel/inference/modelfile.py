"""Opens a model below the models root without following a link, and proves which bytes it has.

What is verified is the open descriptor; the engine loads through it, so that nothing can be swapped
between the check and the use.
"""

import asyncio
import contextlib
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from secai_site.kernel.errors import NotFound
from secai_site.kernel.files import PathRefused, open_below, set_digest, sha256_of
from secai_site.kernel.inference.errors import ModelIntegrityError, ModelPathRefused
from secai_site.kernel.inference.protocol import ModelFile

Fingerprint = tuple[int, int, int, int, int]


def fingerprint(descriptor: int) -> Fingerprint:
    """(device, inode, size, mtime_ns, ctime_ns): any write changes it, as ctime cannot be set back."""
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@dataclass(slots=True)
class OpenModel:
    """The verified files of a model, in their order; close it after loading."""

    descriptors: tuple[int, ...]
    seen: tuple[Fingerprint, ...]

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths that lead to the verified descriptors, whatever now has their names."""
        return tuple(f"/proc/self/fd/{descriptor}" for descriptor in self.descriptors)

    def unchanged(self) -> bool:
        """Whether nobody wrote to any of the files since they were hashed."""
        return tuple(map(fingerprint, self.descriptors)) == self.seen

    def duplicate(self) -> "OpenModel":
        """The same files under descriptors of their own, to be closed apart from these."""
        return OpenModel(tuple(map(os.dup, self.descriptors)), self.seen)

    def close(self) -> None:
        """Release the descriptors; more than once is fine."""
        descriptors, self.descriptors = self.descriptors, ()
        for descriptor in descriptors:
            os.close(descriptor)


class ModelStore:
    """The files below `root`, and which of them were hashed already. Safe to call from several threads."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve(strict=True)
        self._hashes: dict[Fingerprint, str] = {}
        self._hashing = threading.Lock()

    async def verified(self, model: ModelFile) -> OpenModel:
        """`open_verified` in a thread; a caller that goes away meanwhile leaves nothing open."""
        opening = asyncio.ensure_future(asyncio.to_thread(self.open_verified, model))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unused)
            raise

    def open_verified(self, model: ModelFile) -> OpenModel:
        """Open and check a model's files; one is read as a whole only when its fingerprint is new.

        Raises `ModelPathRefused` or `ModelIntegrityError`.
        """
        with contextlib.ExitStack() as opened:
            descriptors = tuple(self._open(path, opened) for path in _paths(model))
            found = OpenModel(descriptors, self._verify(descriptors, model))
            opened.pop_all()
        return found

    def _verify(self, descriptors: tuple[int, ...], model: ModelFile) -> tuple[Fingerprint, ...]:
        seen = tuple(map(fingerprint, descriptors))
        hashes = [self._hash(descriptor, each) for descriptor, each in zip(descriptors, seen, strict=True)]
        found = set_digest(zip(model.parts, hashes, strict=True)) if model.parts else hashes[0]
        if found != model.sha256:
            raise ModelIntegrityError(f"the file of {model.name} is not the one that was admitted")
        if tuple(map(fingerprint, descriptors)) != seen:
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

    def _open(self, path: str, opened: contextlib.ExitStack) -> int:
        try:
            descriptor = open_below(self._root, path)
        except NotFound:
            raise ModelIntegrityError("the model's file is missing") from None
        except PathRefused as error:
            raise ModelPathRefused(f"the model's path is refused: {error.message}") from None
        opened.callback(os.close, descriptor)
        return descriptor


def _paths(model: ModelFile) -> list[str]:
    """Below the root, or absolute: the file itself, or each of its parts in the folder that it is."""
    return [f"{model.path}/{part}" for part in model.parts] or [model.path]


def _close_unused(opening: "asyncio.Future[OpenModel]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
