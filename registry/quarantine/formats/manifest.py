"""Fingerprint of a model's structure, and SHA-256 of each tensor and file under one Merkle root.

The tree is that of RFC 6962, section 2.1: leaf = SHA-256(0x00 ‖ entry), node = SHA-256(0x01 ‖ left ‖ right).
Of a model in one file the first leaf is the header (metadata, vocabulary, template), then the tensors in the order
of their data. Of a set each leaf is a file, in the order of their paths: the root of its own tree where it has
tensors, else its SHA-256.
"""

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from registry.quarantine.formats.gguf import GgufPart
from registry.quarantine.formats.safetensors import SafetensorsFile

MAX_BYTES: Final = 64 << 20
SHA256: Final = re.compile("[0-9a-f]{64}")

Part = GgufPart | SafetensorsFile


@dataclass(frozen=True, slots=True)
class TensorDigest:
    """One tensor of a manifest; `sha256` is over its bytes without padding, in hex."""

    name: str
    dims: tuple[int, ...]
    type: str
    nbytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class FileDigest:
    """One file, `path` empty for a model in one file. `header_sha256` is `None` for a file without tensors."""

    path: str
    sha256: str
    size_bytes: int
    header_sha256: str | None
    tensors: tuple[TensorDigest, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """Digests (hex SHA-256) of a whole model: each file, each header, each tensor, the Merkle root."""

    root: str
    files: tuple[FileDigest, ...]

    @classmethod
    def of(cls, files: Sequence[FileDigest]) -> "Manifest":
        """The manifest of these files, sorted by path."""
        ordered = tuple(sorted(files, key=lambda one: one.path))
        return cls(_root(ordered), ordered)

    def to_json(self) -> dict[str, Any]:
        """A plain dict; each file as path, sha256, size_bytes, header_sha256 and its tensors as rows."""
        return {
            "root": self.root,
            "files": [
                [
                    file.path, file.sha256, file.size_bytes, file.header_sha256,
                    [[one.name, list(one.dims), one.type, one.nbytes, one.sha256] for one in file.tensors],
                ]
                for file in self.files
            ],
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: object) -> "Manifest":
        """The manifest back from `to_json`; raises `ValueError` unless every type and the root are right."""
        match data:
            case {"root": str(root), "files": list(rows), **rest} if not rest and rows:
                files = tuple(_file(row) for row in rows)
            case _:
                raise ValueError("not a manifest")
        if root != _root(files):
            raise ValueError("the root of the manifest does not belong to its entries")
        return cls(root, files)

    def write(self, path: Path) -> None:
        """Keep it in a file of its own, flushed; an older one is replaced as a whole."""
        beside = path.with_name(f"{path.name}.part")
        with beside.open("wb") as file:
            file.write(_canonical(self.to_json()))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)

    @classmethod
    def read(cls, path: Path) -> "Manifest":
        """The manifest back from `write`; raises `OSError`, or `ValueError` where it is none any more."""
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise ValueError("the manifest is far too long")
        try:
            return cls.from_json(json.loads(raw))
        except RecursionError:
            raise ValueError("not a manifest") from None

    def changed(self, other: "Manifest") -> list[str]:
        """Names of tensors that `other` lacks, has in addition, or has with other content."""
        mine, theirs = self._tensors(), other._tensors()
        return [key[1] for key in mine | theirs if mine.get(key) != theirs.get(key)]

    def _tensors(self) -> dict[tuple[str, str], TensorDigest]:
        return {(file.path, tensor.name): tensor for file in self.files for tensor in file.tensors}


def fingerprint(
    kind: str, parts: Sequence[Part], architecture: str | None = None, tokenizer: object = None
) -> str:
    """Hex SHA-256 of the structure: format, architecture, tensor names, shapes and types, vocabulary size.

    Two quantizations differ; two fine-tunes of one model in the same quantization do not, nor do a model in one
    file and the same in parts.
    """
    structure = {
        "version": 1,
        "format": kind,
        "architecture": architecture,
        "tokenizer": tokenizer,
        "tensors": sorted([one.name, one.dims, one.type] for part in parts for one in part.tensors),
    }
    return hashlib.sha256(_canonical(structure)).hexdigest()


def leaf_hash(entry: bytes) -> bytes:
    """RFC 6962 leaf hash, 32 bytes."""
    return hashlib.sha256(b"\0" + entry).digest()


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 tree head over leaf hashes, 32 bytes; of no leaves, SHA-256 of nothing.

    Pairing level by level and carrying an odd last one up gives the same tree as splitting at the largest
    power of two.
    """
    level = list(leaves)
    if not level:
        return hashlib.sha256().digest()
    while len(level) > 1:
        pairs = [
            hashlib.sha256(b"\1" + left + right).digest()
            for left, right in zip(level[::2], level[1::2], strict=False)
        ]
        level = pairs + level[len(pairs) * 2 :]
    return level[0]


def _root(files: Sequence[FileDigest]) -> str:
    if len(files) == 1 and not files[0].path:
        return _file_root(files[0])
    leaves = [
        leaf_hash(
            _canonical(
                ["file", one.path, "text" if one.header_sha256 is None else "weights", _file_root(one)]
            )
        )
        for one in files
    ]
    return merkle_root(leaves).hex()


def _file_root(file: FileDigest) -> str:
    if file.header_sha256 is None:
        return file.sha256
    leaves = [leaf_hash(_canonical(["header", file.header_sha256]))]
    leaves += [leaf_hash(_entry(digest)) for digest in file.tensors]
    return merkle_root(leaves).hex()


def _file(row: object) -> FileDigest:
    """One file from its row in JSON."""
    match row:
        case [str(path), str(digest), int(size), None | str() as header, list(rows)] if type(size) is int:
            if SHA256.fullmatch(digest) and (header is None or SHA256.fullmatch(header)):
                return FileDigest(path, digest, size, header, tuple(_tensor(one) for one in rows))
    raise ValueError("a file of the manifest is malformed")


def _tensor(row: object) -> TensorDigest:
    """One tensor from its row in JSON."""
    match row:
        case [str(name), list(dims), str(kind), int(nbytes), str(digest)] if SHA256.fullmatch(digest):
            if all(type(dim) is int for dim in dims) and type(nbytes) is int:
                return TensorDigest(name, tuple(dims), kind, nbytes, digest)
    raise ValueError("a tensor of the manifest is malformed")


def _entry(digest: TensorDigest) -> bytes:
    return _canonical(["tensor", digest.name, digest.dims, digest.type, digest.nbytes, digest.sha256])


def _canonical(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":")).encode()
