"""The index of a safetensors set: an accepted one puts each tensor where it is."""

import json
from collections.abc import Iterator

from tests.fuzz.folder import check_set
from tests.fuzz.target import Target
from tests.support import hostile_sets as sets

OWNERS = {"a": "one.safetensors", "b": "one.safetensors", "c": "two.safetensors"}


def check(data: bytes) -> bool:
    """Raise on a breach; whether a set with this index was accepted."""
    model = check_set(sets.safetensors_set(index=data))
    if model is None:
        return False
    assert json.loads(data)["weight_map"] == OWNERS, "the index is wrong and was accepted"
    return True


def seeds() -> Iterator[bytes]:
    """The indexes of the cases, sound and hostile."""
    for case in (*sets.benign_sets(), *sets.hostile_sets()):
        if len(case.files.get(sets.INDEX, b"")) in range(1, 4_096):
            yield case.files[sets.INDEX]


TARGET = Target("index", check, seeds)
