"""The one reading of all bytes: digests, rules and samples of every file, window by window.

Hashing runs in two threads beside this one (hashlib releases the lock): one digest of the whole file, one of each
region, so that on two cores a file costs about as much as hashing it once. Memory: a few windows.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol

from registry.quarantine.formats.errors import FormatError
from registry.quarantine.formats.manifest import FileDigest, Manifest, Part, TensorDigest
from registry.quarantine.formats.members import Member
from registry.quarantine.formats.reader import Reader
from registry.quarantine.formats.statistics import Sample, Statistics, is_measured, measure
from registry.quarantine.formats.tensors import Tensor

WINDOW: Final = 2 << 20
# Windows that may wait for the hashing threads.
AHEAD: Final = 3


class Scanner(Protocol):
    """Applies the rules of one name to bytes that lie at `base` of a file; see `registry.quarantine.rules`."""

    reach: int

    def scan(self, rules: str, data: bytes, file: str, base: int) -> None:
        """Look at `data`."""


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch of a file with a digest of its own: the header (`tensor` is `None`) or a tensor."""

    start: int
    end: int
    tensor: Tensor | None


def survey(
    members: Sequence[Member],
    parts: Sequence[Part],
    scanner: Scanner,
    statistics: Statistics,
    progress: Callable[[float], None],
) -> Manifest:
    """Read every file once: answers the manifest, and fills `scanner` and `statistics`.

    `parts` are the files with tensors, by path; `progress` gets the share that is done. Raises `FormatError` for
    weights that cannot work and for a file that became shorter.
    """
    by_path: Mapping[str, Part] = {part.path: part for part in parts}
    total = sum(member.size for member in members) or 1
    done = 0
    digests: list[FileDigest] = []
    with ThreadPoolExecutor(1) as whole, ThreadPoolExecutor(1) as regions:
        for member in members:
            one = _FileSurvey(member, by_path.get(member.path), scanner, statistics)
            for size in _naming(member.path, one.run(whole, regions)):
                done += size
                progress(done / total)
            digests.append(one.digest())
    return Manifest.of(digests)


class _FileSurvey:
    """One file on its way through the hashing threads, the rules and the statistics."""

    def __init__(self, member: Member, part: Part | None, scanner: Scanner, statistics: Statistics) -> None:
        self.member = member
        self.part = part
        self.scanner = scanner
        self.statistics = statistics
        self.size = part.size if part else member.size
        self.header_end = part.data_offset if part else 0
        self.regions = _regions(part)
        self.whole = hashlib.sha256()
        self.digests = [hashlib.sha256() for _ in self.regions]
        self.hashed = _Walk(self.regions)
        self.sampled = _Walk(self.regions)
        self.sample: Sample | None = None

    def run(self, whole: ThreadPoolExecutor, regions: ThreadPoolExecutor) -> Iterator[int]:
        """Read the file; yields the bytes of each window. At most `AHEAD` windows wait to be hashed."""
        waiting: deque[tuple[Future[None], Future[None]]] = deque()
        for offset, lap, data in self._windows():
            fresh = memoryview(data)[lap:]
            waiting.append(
                (whole.submit(self.whole.update, fresh), regions.submit(self._hash_regions, offset, fresh))
            )
            self._apply_rules(offset - lap, data)
            self._measure(offset, fresh)
            if len(waiting) > AHEAD:
                _finish(waiting.popleft())
            yield len(fresh)
        for pair in waiting:
            _finish(pair)

    def digest(self) -> FileDigest:
        """The digests, after `run`."""
        found = [digest.hexdigest() for digest in self.digests]
        tensors = tuple(
            TensorDigest(one.name, one.dims, one.type, one.nbytes, digest)
            for one, digest in zip(self.part.tensors if self.part else (), found[1:], strict=True)
        )
        return FileDigest(
            self.member.path, self.whole.hexdigest(), self.size, found[0] if found else None, tensors
        )

    def _windows(self) -> Iterator[tuple[int, int, bytes]]:
        """Each window's offset and its bytes, with the `lap` last bytes of the one before in front."""
        reader = Reader(self.member.fd, self.size, "file")
        for offset in range(0, self.size, WINDOW):
            lap = min(offset, self.scanner.reach)
            yield offset, lap, reader.at(offset - lap, lap + min(WINDOW, self.size - offset))

    def _hash_regions(self, offset: int, data: memoryview) -> None:
        for number, piece, _ in self.hashed.through(offset, data):
            self.digests[number].update(piece)

    def _apply_rules(self, base: int, data: bytes) -> None:
        path = self.member.path
        self.scanner.scan("anywhere", data, path, base)
        self.scanner.scan("pickles", data, path, base)
        if self.part is None:
            return
        border = max(0, self.header_end - base)
        if border:
            self.scanner.scan("header", data[:border], path, base)
        self.scanner.scan("weights", data[border:] if border else data, path, base + border)

    def _measure(self, offset: int, data: memoryview) -> None:
        for number, piece, last in self.sampled.through(offset, data):
            tensor = self.regions[number].tensor
            if tensor is None:
                continue
            if is_measured(tensor):
                self.sample = self.sample or Sample()
                measure(tensor, max(offset, tensor.offset), piece, self.sample)
            if last:
                self._close(tensor)

    def _close(self, tensor: Tensor) -> None:
        sample, self.sample = self.sample, None
        self.statistics.close(self.member.path, tensor, sample)


def _naming(path: str, windows: Iterator[int]) -> Iterator[int]:
    """The windows; a refusal on the way names the file, if it is one of a set."""
    try:
        yield from windows
    except FormatError as error:
        raise (error.within(path) if path else error) from None


class _Walk:
    """Goes through the regions as the windows pass."""

    def __init__(self, regions: Sequence[Region]) -> None:
        self.regions = regions
        self.next = 0

    def through(self, offset: int, data: memoryview) -> Iterator[tuple[int, memoryview, bool]]:
        """For each region that the window at `offset` touches: its number, its bytes here, whether it ends here."""
        end = offset + len(data)
        while self.next < len(self.regions) and self.regions[self.next].start < end:
            number, region = self.next, self.regions[self.next]
            last = region.end <= end
            self.next += last
            yield number, data[max(region.start - offset, 0) : region.end - offset], last
            if not last:
                return


def _regions(part: Part | None) -> list[Region]:
    """The header and the tensors, in the order of the file."""
    if part is None:
        return []
    tensors = [Region(one.offset, one.end, one) for one in part.tensors]
    return [Region(0, part.data_offset, None), *tensors]


def _finish(futures: tuple[Future[None], Future[None]]) -> None:
    for future in futures:
        future.result()
