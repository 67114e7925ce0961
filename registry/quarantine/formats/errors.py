"""The one way a validator says no."""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class FormatError(Exception):
    """A file that does not keep to its format.

    `reason` is a sentence for the owner of the file, `offset` the byte where the trouble was seen (`None`
    when it is nowhere in particular), `code` is `format.what[.how]`, stable for programs; `path` names the file
    of a set that `offset` belongs to.
    """

    def __init__(self, reason: str, offset: int | None, code: str, path: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset
        self.code = code
        self.path = path

    def within(self, path: str) -> "FormatError":
        """The same refusal, naming the file of the set in its sentence; `path` was checked before."""
        shown = path if len(path) <= 100 else f"{path[:100]}…"
        return FormatError(f"{self.reason} (in {shown})", self.offset, self.code, path)


def within(path: str, read: Callable[[], T]) -> T:
    """What `read` gives; its refusal names the file at `path` of the set."""
    try:
        return read()
    except FormatError as error:
        raise error.within(path) from None
