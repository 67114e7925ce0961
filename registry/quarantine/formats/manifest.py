"""Fingerprint of a model's structure, and SHA-256 of each tensor under one Merkle root.

The tree is that of RFC 6962, section 2.1: leaf = SHA-256(0x00 ‖ entry), node = SHA-256(0x01 ‖ left ‖ right).
The first leaf is the header (metadata, vocabulary, template), then the tensors in the order of their data.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from registry.quarantine.formats.gguf import GgufFile
from registry.quarantine.formats.reader import Reader
from registry.quarantine.formats.safetensors import SafetensorsFile

STEP: Final = 1 << 20
SHA256: Final = re.compile("[0-9a-f]{64}")

ModelFile = GgufFile | SafetensorsFile


@dataclass(frozen=True, slots=True)
class TensorDigest:
    """One tensor of a manifest; `sha256` is over its bytes without padding, in hex."""

    name: str
    dims: tuple[int, ...]
    type: str
    nbytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """Digests (hex SHA-256) of a whole model file: the file, its header, each tensor, the Merkle root."""

    root: str
    file_sha256: str
    header_sha256: str
    tensors: tuple[TensorDigest, ...]

    def to_json(self) -> dict[str, Any]:
        """A plain dict; the tensors as rows of name, dims, type, nbytes, sha256."""
        rows = [[one.name, list(one.dims), one.type, one.nbytes, one.sha256] for one in self.tensors]
        digests = {"root": self.root, "file_sha256": self.file_sha256, "header_sha256": self.header_sha256}
        return {**digests, "tensors": rows}

    @classmethod
    def from_json(cls, data: object) -> "Manifest":
        """The manifest back from `to_json`; raises `ValueError` unless every type and the root are right."""
        match data:
            case {
                "root": str(root),
                "file_sha256": str(whole),
                "header_sha256": str(header),
                "tensors": list(rows),
                **rest,
            } if not rest:
                tensors = tuple(_row(row) for row in rows)
            case _:
                raise ValueError("not a manifest")
        if not all(SHA256.fullmatch(digest) for digest in (root, whole, header)):
            raise ValueError("a digest of the manifest is not 64 hexadecimal digits")
        if root != _root(header, tensors):
            raise ValueError("the root of the manifest does not belong to its entries")
        return cls(root, whole, header, tensors)

    def changed(self, other: "Manifest") -> list[str]:
        """Names of tensors that `other` lacks, has in addition, or has with other content."""
        mine = {tensor.name: tensor for tensor in self.tensors}
        theirs = {tensor.name: tensor for tensor in other.tensors}
        return [name for name in mine | theirs if mine.get(name) != theirs.get(name)]


def fingerprint(model: ModelFile) -> str:
    """Hex SHA-256 of the structure: format, architecture, tensor names, shapes and types, vocabulary size.

    Two quantizations differ, two fine-tunes of one model in the same quantization do not.
    """
    facts = model.facts if isinstance(model, GgufFile) else None
    return hashlib.sha256(
        _canonical(
            {
                "version": 1,
                "format": model.format,
                "architecture": facts.architecture if facts else None,
                "tokenizer": [facts.tokenizer_model, facts.tokenizer_size] if facts else None,
                "tensors": sorted([tensor.name, tensor.dims, tensor.type] for tensor in model.tensors),
            }
        )
    ).hexdigest()


def tensor_manifest(fd: int, model: ModelFile) -> Manifest:
    """Hash every byte of the file once read: header, tensors and, in the same pass, the whole file.

    The whole-file digest runs in a second thread (hashlib releases the lock), so on two cores it costs no
    extra time. Memory: one buffer.
    """
    reader = Reader(fd, model.size, model.format)
    with ThreadPoolExecutor(max_workers=1) as pool:
        hashing = _TwoDigests(reader, pool)
        header = hashing.region(0, model.data_offset)
        digests: list[TensorDigest] = []
        at = model.data_offset
        for tensor in model.tensors:
            hashing.pass_over(at, tensor.offset)
            digest = hashing.region(tensor.offset, tensor.end)
            digests.append(TensorDigest(tensor.name, tensor.dims, tensor.type, tensor.nbytes, digest))
            at = tensor.end
        hashing.pass_over(at, model.size)
    return Manifest(_root(header, digests), hashing.whole.hexdigest(), header, tuple(digests))


class _TwoDigests:
    """Feeds each chunk to the digest of its region and to that of the whole file."""

    def __init__(self, reader: Reader, pool: ThreadPoolExecutor) -> None:
        self.reader = reader
        self.pool = pool
        self.whole = hashlib.sha256()
        self.buffer = bytearray(STEP)

    def region(self, start: int, end: int) -> str:
        digest = hashlib.sha256()
        for chunk in self.reader.pieces(start, end, self.buffer):
            whole = self.pool.submit(self.whole.update, chunk)
            digest.update(chunk)
            whole.result()
        return digest.hexdigest()

    def pass_over(self, start: int, end: int) -> None:
        for chunk in self.reader.pieces(start, end, self.buffer):
            self.whole.update(chunk)


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


def _root(header: str, digests: Sequence[TensorDigest]) -> str:
    leaves = [leaf_hash(_canonical(["header", header]))]
    leaves += [leaf_hash(_entry(digest)) for digest in digests]
    return merkle_root(leaves).hex()


def _row(row: object) -> TensorDigest:
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
