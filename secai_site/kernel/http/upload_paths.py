"""Where the files of one upload belong: the relative paths that the sender named, checked strictly. Pure."""

import re
import unicodedata
from collections.abc import Sequence

from secai_site.kernel.errors import InvalidRequest

MAX_DEPTH = 3
MAX_PART_BYTES = 255
SHARD = re.compile(r"-\d{5}-of-\d{5}(?=\.[A-Za-z0-9]+$|$)")


class PathsRefused(InvalidRequest):
    """The files of an upload cannot be laid out as they are named."""

    code = "upload.paths"


def laid_out(filenames: Sequence[str]) -> tuple[str, list[tuple[str, ...]]]:
    """What the whole is called, and the path of each file in it, one common folder at the top taken off.

    Raises `PathsRefused` for a path that is absolute, leads up, is deeper than three, is not printable text in
    Unicode's composed form (NFC), or is the same as another one but for upper and lower case.
    """
    paths = [_parts(name) for name in filenames]
    top = _common_top(paths)
    if top:
        paths = [parts[1:] for parts in paths]
    for parts, name in zip(paths, filenames, strict=True):
        if len(parts) > MAX_DEPTH:
            raise _refused(name, f"lies deeper than {MAX_DEPTH} levels")
    _require_distinct(paths)
    return top or SHARD.sub("", min(parts[-1] for parts in paths)), paths


def _parts(name: str) -> tuple[str, ...]:
    parts = tuple(name.split("/"))
    if any(part in ("", ".", "..") for part in parts) or "\\" in name:
        raise _refused(name, "is no relative path of plain names")
    if not name.isprintable() or "\ufffd" in name or unicodedata.normalize("NFC", name) != name:
        raise _refused(name, "has characters that cannot be kept in a file name")
    if any(len(part.encode()) > MAX_PART_BYTES for part in parts):
        raise _refused(name, "has a name that is too long")
    return parts


def _common_top(paths: list[tuple[str, ...]]) -> str:
    tops = {parts[0] for parts in paths}
    return tops.pop() if len(tops) == 1 and all(len(parts) > 1 for parts in paths) else ""


def _require_distinct(paths: list[tuple[str, ...]]) -> None:
    """No two files in one place, no file where a folder is, and no two spellings that differ only by case."""
    files: set[str] = set()
    folders: dict[str, tuple[str, ...]] = {}
    for parts in paths:
        for depth in range(1, len(parts)):
            above = parts[:depth]
            if folders.setdefault("/".join(above).casefold(), above) != above:
                raise _refused("/".join(parts), "lies in a folder that is spelled in two ways")
        key = "/".join(parts).casefold()
        if key in files:
            raise _refused("/".join(parts), "is there twice")
        files.add(key)
    if clash := files & folders.keys():
        raise _refused(min(clash), "is both a file and a folder")


def _refused(name: str, why: str) -> PathsRefused:
    shown = "".join(c if c.isprintable() else "?" for c in name[:80])
    return PathsRefused(f"The file “{shown}” {why}. Nothing of the upload was kept.")
