"""A set of files in which one is replaced by any bytes, through the readers of sets."""

from collections.abc import Mapping

from registry.quarantine.formats.members import Member
from registry.quarantine.formats.model import Model, read_model
from tests.fuzz.target import opened, refused
from tests.fuzz.whole import check_plain


def check_set(files: Mapping[str, bytes]) -> Model | None:
    """Raise on a breach; the model, if the set was accepted."""
    found: list[Model] = []
    with opened(*files.values()) as fds:
        members = [Member(path, fd) for path, fd in zip(files, fds, strict=True)]
        if refused(lambda: found.append(read_model(members, is_set=True)), max(map(len, files.values()))):
            return None
    check_plain(found[0].facts)
    return found[0]
