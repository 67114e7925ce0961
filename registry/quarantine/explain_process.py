"""The child process that reads a refused pickle. It gets one descriptor, reaches nothing else, unpickles nothing.

Started by `registry.quarantine.explain`. It writes one JSON object a line, each as soon as it is known, so that what a
bomb stops is only what comes after: `{"archive": bool}`, `{"would_do": […], "whole": bool}`, `{"scanner": {…}}`…
"""

import codecs
import contextlib
import io
import json
import os
import pickletools
import re
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, Final

from fickling.analysis import Severity, check_safety
from picklescan.relaxed_zipfile import RelaxedZipFile
from picklescan.scanner import scan_pickle_bytes

from registry.quarantine.explain_calls import read_program, stacked
from registry.quarantine.plain import plain
from secai_site.kernel.sandbox import Limits, Profile, apply

FILE: Final = 0
ANSWER: Final = 1
MEMORY: Final = 512 << 20
CPU_S: Final = 1
MAX_BYTES: Final = 8 << 20
MAX_OPCODES: Final = 50_000
MAX_MEMBERS: Final = 1000
MAX_PICKLES: Final = 8
MAX_FINDINGS: Final = 20
FINDING: Final = 300
PROTOCOL: Final = re.compile(rb"\x80[\x00-\x05]")
PICKLE_NAMES: Final = (".pkl", ".pickle")
# A start without a protocol is letters and line ends, as in any text: it has to call something, or end as a pickle.
BARE_START: Final = re.compile(rb"\(?c[A-Za-z_][\w.]*\n[A-Za-z_][\w.]*\n|\([dl]p?\d")
CALLS: Final = frozenset({"REDUCE", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX"})
LEVELS: Final = ("innocuous", "suspicious", "dangerous")

# Codecs are files: those that archives and old pickles need are loaded before the files are out of reach.
for _codec in ("cp437", "raw_unicode_escape", "unicode_escape", "latin-1", "ascii"):
    codecs.lookup(_codec)

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Program:
    """One pickle, at most `MAX_OPCODES` long; `cut`: there was more."""

    data: bytes
    cut: bool


def main(arguments: list[str]) -> int:
    """Confine this process, read standard input, write what it would have done. `arguments`: parent pid."""
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - the scanners print; the answer goes past them
    apply(
        Profile(
            name="explainer", network="none", processes=False, required=True, parent=int(arguments[0]),
            limits=Limits(cpu_s=CPU_S, memory=MEMORY, file_size=0, open_files=16),
        )
    )  # fmt: skip
    for answer in examine(FILE):
        os.write(ANSWER, json.dumps(answer).encode() + b"\n")
    return 0


def examine(descriptor: int) -> Iterator[Answer]:
    """The answers, in order of how soon they are had; none when there is no pickle."""
    file = io.BufferedReader(_At(descriptor))
    archive = file.peek(4)[:4] == b"PK\x03\x04"
    programs = list(_in_archive(file) if archive else _in_file(file))
    if not programs:
        return
    yield {"archive": archive}
    data = [program.data for program in programs]
    yield _guarded(partial(_told, programs), {"would_do": [], "whole": False})
    for name, scan in (("picklescan", _picklescan), ("fickling", _fickling)):
        failed: Answer = {"verdict": "could not read it to the end", "findings": []}
        yield {"scanner": {"name": name, **_guarded(partial(scan, data), failed)}}


def _told(programs: list[Program]) -> Answer:
    readings = [read_program(program.data) for program in programs]
    whole = all(reading.whole for reading in readings) and not any(program.cut for program in programs)
    return {"would_do": [one for reading in readings for one in reading.sentences], "whole": whole}


def _guarded(work: Callable[[], Any], otherwise: Any) -> Any:
    """Whatever a hostile file provokes in a scanner ends that scanner alone."""
    try:
        return work()
    except (Exception, MemoryError, RecursionError):
        return otherwise


class _At(io.RawIOBase):
    """The file behind a descriptor, read by position, so that the parent's position stays."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._size, self._at = descriptor, os.fstat(descriptor).st_size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        count = os.preadv(self._descriptor, [buffer], self._at)
        self._at += count
        return count


def _in_file(file: BinaryIO) -> Iterator[Program]:
    program = _program(file.read(MAX_BYTES))
    if program is not None:
        yield program


def _in_archive(file: BinaryIO) -> Iterator[Program]:
    """The pickles of a PyTorch archive, read as leniently as PyTorch does."""
    found = 0
    with contextlib.suppress(zipfile.BadZipFile, OSError, ValueError), RelaxedZipFile(file) as archive:
        likely_first = sorted(archive.infolist(), key=lambda one: not one.filename.endswith(PICKLE_NAMES))
        for member in likely_first[:MAX_MEMBERS]:
            head = _read(archive, member, 2)
            if not (member.filename.endswith(PICKLE_NAMES) or PROTOCOL.match(head)):
                continue
            program = _program(_read(archive, member, MAX_BYTES))
            if program is not None:
                yield program
                found += 1
            if found == MAX_PICKLES:
                return


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> bytes:
    """At most `most` bytes unpacked; of a damaged or locked member as much as can be read."""
    data = bytearray()
    with contextlib.suppress(Exception), archive.open(member) as file:
        while len(data) < most and (part := file.read(min(1 << 16, most - len(data)))):
            data += part
    return bytes(data)


def _program(data: bytes) -> Program | None:
    """The pickle at the start of `data`, None when there is none."""
    is_one, stopped, end, count = bool(PROTOCOL.match(data)), False, 0, 0
    may_be = bool(BARE_START.match(data))
    with contextlib.suppress(Exception):
        for opcode, _, at in pickletools.genops(data):
            end, count = at or 0, count + 1
            is_one = is_one or (may_be and opcode.name in CALLS)
            stopped = opcode.name == "STOP"
            if count > MAX_OPCODES:
                return Program(data[:end], cut=True) if is_one else None
    if is_one or (stopped and count > 1 and end + 1 == len(data)):
        return Program(data, cut=len(data) >= MAX_BYTES)
    return None


def _picklescan(programs: list[bytes]) -> Answer:
    found = [one for data in programs for one in scan_pickle_bytes(io.BytesIO(data), "it").globals]
    found.sort(key=lambda one: (-LEVELS.index(one.safety.value), one.module, one.name))
    verdict = found[0].safety.value if found else "nothing found"
    told = [
        f"{one.module}.{one.name}: {one.safety.value}" for one in found if one.safety.value != "innocuous"
    ]
    return {"verdict": verdict, "findings": _capped(told)}


def _fickling(programs: list[bytes]) -> Answer:
    results = [check_safety(pickled) for data in programs for pickled in stacked(data)]
    worst = max((result.severity for result in results), default=Severity.LIKELY_SAFE)
    told = [str(one) for result in results for one in result.results if one.severity > Severity.LIKELY_SAFE]
    return {"verdict": worst.message.lower(), "findings": _capped(told)}


def _capped(texts: list[str]) -> list[str]:
    return [plain(text, FINDING) for text in dict.fromkeys(texts)][:MAX_FINDINGS]
