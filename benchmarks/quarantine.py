"""What the quarantine costs, against `sha256sum` of the same file in the same run.

    python benchmarks/quarantine.py [GIB]

A GGUF of `GIB` gibibytes (1) of random Q8_0 blocks arrives as an upload (written and hashed), is submitted and goes
through every stage but the behaviour test; then it is promoted and verified. A sparse file of ten times the size goes
the same way for its peak memory. Each printed ratio is measured ÷ sha256sum, or measured ÷ limit for memory.
"""

import hashlib
import os
import resource
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

IMPORT_LIMIT, VERIFY_LIMIT, MEMORY_LIMIT_MB = 6.0, 1.3, 512
GIB = 2**30
ROWS = 8192
BLOCK, BLOCK_BYTES = 32, 34
PIECE = BLOCK_BYTES * 2**17
ROUNDS = 3


def main() -> None:
    """Measure and print."""
    size = int(float(sys.argv[1] if len(sys.argv) > 1 else 1) * GIB)
    with tempfile.TemporaryDirectory(prefix="secai-bench-") as scratch:
        model = Path(scratch) / "model.gguf"
        write_gguf(model, size, sparse=False)
        print(f"{model.stat().st_size / GIB:.2f} GiB of Q8_0, {os.cpu_count()} cores, best of {ROUNDS}")
        plain = min(
            timed(lambda: subprocess.run(["sha256sum", model], check=True, capture_output=True))
            for _ in range(ROUNDS)
        )
        print(f"sha256sum: {plain:.2f} s ({model.stat().st_size / plain / 1e9:.2f} GB/s)")
        fast = min(timed(lambda: hashed(model)) for _ in range(ROUNDS))
        print(f"OpenSSL's SHA-256, which is ours too: {fast:.2f} s; its ratios stand in brackets")
        taken = [measure(model, Path(scratch)) for _ in range(ROUNDS)]
        best = min(arrive + scan for arrive, scan, _verify, _memory in taken)
        arrive, scan = next((a, s) for a, s, *_ in taken if a + s == best)
        print(
            f"import {arrive:.2f} s + static stages {scan:.2f} s ÷ sha256sum = {best / plain:.2f} "
            f"[{best / fast:.2f}] (limit {IMPORT_LIMIT})"
        )
        verify = min(one[2] for one in taken)
        print(
            f"verify-manifest {verify:.2f} s ÷ sha256sum = {verify / plain:.2f} [{verify / fast:.2f}] "
            f"(limit {VERIFY_LIMIT})"
        )
        model.unlink()
        sparse = Path(scratch) / "sparse.gguf"
        write_gguf(sparse, 10 * size, sparse=True)
        *_, memory = measure(sparse, Path(scratch))
        print(
            f"peak memory on a sparse file of {sparse.stat().st_size / GIB:.0f} GiB: {memory:.0f} MB ÷ "
            f"{MEMORY_LIMIT_MB} MB = {memory / MEMORY_LIMIT_MB:.2f}"
        )


def hashed(model: Path) -> str:
    """The digest by OpenSSL, which uses the processor's SHA instructions where it has them."""
    with model.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def timed(work: Callable[[], object]) -> float:
    """Seconds that `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def write_gguf(path: Path, size: int, *, sparse: bool) -> None:
    """A well-formed GGUF of about `size` bytes in equal tensors of 256 MiB or less; scales are finite."""
    each = min(256 * 2**20, size) // (ROWS * BLOCK_BYTES) * BLOCK
    count = max(1, size // (each // BLOCK * BLOCK_BYTES * ROWS))
    nbytes = each // BLOCK * BLOCK_BYTES * ROWS
    keys = [("general.architecture", "llama"), ("general.name", "bench")]
    header = struct.pack("<4sIQQ", b"GGUF", 3, count, len(keys))
    for key, value in keys:
        header += _text(key) + struct.pack("<I", 8) + _text(value)
    step = (nbytes + 31) // 32 * 32
    for number in range(count):
        header += _text(f"blk.{number}.weight") + struct.pack("<IQQIQ", 2, each, ROWS, 8, number * step)
    header += b"\0" * (-len(header) % 32)
    with path.open("wb") as file:
        file.write(header)
        for number in range(count):
            if not sparse:
                _fill(file, nbytes)
            file.seek(len(header) + (number + 1) * step)
        file.truncate(len(header) + count * step)


def _fill(file: BinaryIO, nbytes: int) -> None:
    """Random blocks with one finite scale, a few MiB at a time: a child would inherit this process's peak memory."""
    random = np.random.default_rng(1)
    scale = np.frombuffer(np.float16(0.01).tobytes(), dtype=np.uint8)
    for start in range(0, nbytes, PIECE):
        count = min(PIECE, nbytes - start) // BLOCK_BYTES
        blocks = random.integers(0, 256, (count, BLOCK_BYTES), dtype=np.uint8)
        blocks[:, 0:2] = scale
        file.write(blocks.tobytes())


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def measure(model: Path, scratch: Path) -> tuple[float, float, float, float]:
    """Seconds to arrive, to scan and to verify, and the peak memory in MB, in a process and a box of their own."""
    with tempfile.TemporaryDirectory(dir=scratch) as home:
        environment = {
            **os.environ,
            "SECAI_HOME": home,
            "SECAI_DEMO_MODEL": "0",
            "DJANGO_SETTINGS_MODULE": "secai_site.settings",
        }
        done = subprocess.run(
            [sys.executable, __file__, "--in-box", str(model)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(done.stderr[-3000:])
        arrive, scan, verify, memory = map(float, done.stdout.split()[-4:])
    return arrive, scan, verify, memory


def in_box(model: Path) -> None:
    """The work itself, with Django on a fresh home; prints the four figures."""
    import threading

    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command

    from registry import intake, services
    from registry.integrity import verify_all
    from registry.quarantine import scan as scanning
    from registry.quarantine.stages.base import passed
    from secai_site.kernel.http.uploads import IncomingUpload
    from secai_site.kernel.jobs.models import Job
    from secai_site.kernel.jobs.worker import JobContext
    from tests.support.builders import ScriptedStage

    call_command("prepare", verbosity=0)
    incoming = Path(settings.QUARANTINE_DIR) / "incoming"
    left_out = ScriptedStage("behavior", passed("Left out of this benchmark."))
    stages: list[Any] = [left_out if stage.name == "behavior" else stage for stage in scanning.STAGES]
    scanning.STAGES = tuple(stages)
    began = time.perf_counter()
    upload = IncomingUpload(incoming, "multipart/form-data; boundary=b", model.stat().st_size)
    upload.feed(b'--b\r\nContent-Disposition: form-data; name="file"; filename="bench.gguf"\r\n\r\n')
    with model.open("rb") as file:
        while piece := file.read(256 * 1024):
            upload.feed(piece)
    upload.feed(b"\r\n--b--\r\n")
    received = upload.finish()
    item = intake.submit(
        path=received.path.name, name="bench", filename="bench.gguf", source="local", actor="bench"
    )
    arrive = time.perf_counter() - began
    job = Job.objects.create(kind="registry.scan", state="running")
    began = time.perf_counter()
    assert scanning.scan(item, JobContext(job, threading.Event())), item.reason
    scan = time.perf_counter() - began
    services.promote_item(item=item, actor="bench")
    began = time.perf_counter()
    assert verify_all(lambda _done, _name: None)["ok"]
    verify = time.perf_counter() - began
    peak = (
        max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        / 1024
    )
    print(arrive, scan, verify, peak)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--in-box"]:
        in_box(Path(sys.argv[2]))
    else:
        main()
