"""Settings and vocabularies of a picture pipeline. The first byte says which file the others replace."""

from collections.abc import Iterator

from tests.fuzz.folder import check_set
from tests.fuzz.target import Target
from tests.support.pipelines import sd3

WHOLE = sd3()
REPLACED = [path for path in WHOLE if not path.endswith(".safetensors")]


def check(data: bytes) -> bool:
    """Raise on a breach; whether the pipeline was accepted."""
    path = REPLACED[data[0] % len(REPLACED)] if data else REPLACED[0]
    return check_set(WHOLE | {path: data[1:]}) is not None


def seeds() -> Iterator[bytes]:
    """Every file that can be replaced, by itself."""
    for number, path in enumerate(REPLACED):
        yield bytes([number]) + WHOLE[path]


TARGET = Target("pipeline", check, seeds)
