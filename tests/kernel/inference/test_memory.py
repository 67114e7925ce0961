import subprocess
import sys
from pathlib import Path

from secai_site.kernel.inference.memory import needed

MB = 1_000_000
ROOT = Path(__file__).resolve().parents[3]


def test_mapped_weights_count_with_the_cache_and_the_buffers() -> None:
    assert needed(100 * MB, before=50 * MB, with_weights=60 * MB, with_context=90 * MB) == 130 * MB


def test_weights_that_were_copied_while_loading_count_once() -> None:
    assert needed(100 * MB, before=50 * MB, with_weights=155 * MB, with_context=185 * MB) == 135 * MB


GROWING = """
from secai_site.kernel.inference.memory import private_bytes, resident_bytes
private, resident = private_bytes(), resident_bytes()
buffer = bytearray(64_000_000)  # zeroed by the kernel, so untouched
asked = private_bytes() - private
buffer[:] = b"x" * len(buffer)
print(asked, resident_bytes() - resident)
"""


def test_a_buffer_is_private_when_it_is_asked_for_and_resident_when_it_is_touched() -> None:
    """In a process of its own: one that has run other tests may take the buffer from what it has."""
    done = subprocess.run(
        [sys.executable, "-c", GROWING], cwd=ROOT, check=True, capture_output=True, text=True
    )
    asked, touched = map(int, done.stdout.split())
    assert asked >= 64 * MB
    assert touched >= 60 * MB
