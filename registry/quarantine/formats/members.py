"""The files under inspection, and what the names in a set may look like."""

import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from registry.quarantine.formats.errors import FormatError
from registry.quarantine.formats.tensors import shown, unprintable

MAX_MEMBERS: Final = 500
MAX_PATH: Final = 1_024
MAX_NAME: Final = 255
# Each folder on the way is compared, so that depth costs time; pipelines have two levels.
MAX_DEPTH: Final = 16
FORBIDDEN: Final = '\\:*?"<>|'


@dataclass(frozen=True, slots=True)
class Member:
    """One file: `path` relative to the set with `/` between its parts, `fd` open for reading.

    For a model in one file the path is of no meaning.
    """

    path: str
    fd: int

    @property
    def size(self) -> int:
        """Its length in bytes, now."""
        return os.fstat(self.fd).st_size

    @property
    def name(self) -> str:
        """The path as it may stand in a sentence."""
        return shown(self.path, 100)


def check_paths(members: Sequence[Member]) -> None:
    """Raise `FormatError` unless each path is plain, relative and unlike every other on any file system.

    Twins are compared in NFC and case-folded, folder by folder: a folder in two spellings is refused too.
    """
    if not 2 <= len(members) <= MAX_MEMBERS:
        raise FormatError(
            f"The set has {len(members):,} files; 2 to {MAX_MEMBERS} are possible. A model in one file is dropped "
            "as that file",
            None,
            "set.count",
        )
    spellings: dict[str, str] = {}
    files: set[str] = set()
    for member in members:
        _check_plain(member)
        # folding neither makes nor removes a “/”
        for prefix, folded in zip(_prefixes(member.path), _prefixes(_folded(member.path)), strict=True):
            first = spellings.setdefault(folded, prefix)
            if first != prefix or prefix in files:
                raise _twins(first, prefix)
        files.add(member.path)
    for member in members:
        if any(prefix in files for prefix in _prefixes(member.path) if prefix != member.path):
            raise FormatError(f"“{member.name}” lies below another file of the set", None, "set.twin")


def _prefixes(path: str) -> Iterator[str]:
    """Each folder on the way, then the file itself."""
    parts = path.split("/")
    return ("/".join(parts[:end]) for end in range(1, len(parts) + 1))


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _twins(one: str, other: str) -> FormatError:
    return FormatError(
        f"Two files of the set cannot be told apart everywhere: “{shown(one)}” and “{shown(other)}”",
        None,
        "set.twin",
    )


def _check_plain(member: Member) -> None:
    path = member.path
    if (bad := unprintable(path)) is not None:
        raise _bad_name(member, f"has the character {bad}")
    if not path or len(path) > MAX_PATH or path.startswith("/"):
        raise _bad_name(member, f"is not a relative path of 1 to {MAX_PATH:,} characters")
    parts = path.split("/")
    if len(parts) > MAX_DEPTH:
        raise _bad_name(member, f"lies in more than {MAX_DEPTH - 1} folders")
    for part in parts:
        _check_part(member, part)


def _check_part(member: Member, part: str) -> None:
    if part in ("", ".", ".."):
        raise _bad_name(member, "leads elsewhere or nowhere")
    if len(part.encode()) > MAX_NAME:
        raise _bad_name(member, f"has a part of more than {MAX_NAME} bytes")
    if part[0] in "-~ " or part[-1] in ". ":
        raise _bad_name(member, "has a part that begins with “-”, “~” or a space, or ends in a dot or space")
    if found := next((char for char in part if char in FORBIDDEN), None):
        raise _bad_name(member, f"has the character {found}, which not every system allows")


def _bad_name(member: Member, why: str) -> FormatError:
    return FormatError(f"The file name “{member.name}” {why}; rename it", None, "set.name")
