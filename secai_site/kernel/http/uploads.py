"""Uploads of any size: written and hashed while they arrive, never held in memory, never copied.

Daphne reads a whole body before it calls the application and hands it over through memory, so a model of ten
gigabytes cannot come that way. The server feeds such a body to an `IncomingUpload` instead; the view then finds
a `ReceivedFile` in its scope.
"""

import errno
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from secai_site.kernel.errors import InvalidRequest, ServiceError, StorageFull
from secai_site.kernel.files import set_digest, sync_folder
from secai_site.kernel.http.upload_paths import laid_out

SCOPE_KEY = "secai.upload"
FIELD_LIMIT = 4096
FIELDS_LIMIT = 16
HEADER_LIMIT = 8192
SPARE_BYTES = 64 * 1024 * 1024
LOOK_EVERY_BYTES = 64 * 1024 * 1024
MAX_FILES = 500
MAX_SIGNATURE = 1024 * 1024
TOUCH_EVERY_S = 60.0


class NotMultipart(ServiceError):
    """An upload comes as multipart/form-data with one part named `file`."""

    status = 415
    code = "request.media_type"


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """What arrived: the file, or the folder of files, at `path`; its client-side name; the other form fields.

    `sha256` is the digest of the file, or that of the set (`kernel.files.set_digest`); `signature` is the detached
    signature beside it, if one came.
    """

    path: Path
    filename: str
    sha256: str
    size_bytes: int
    fields: dict[str, str]
    is_folder: bool = False
    signature: Path | None = None

    def discard(self) -> None:
        """Remove what nobody took."""
        _remove(self.path, self.signature)


@dataclass(slots=True)
class _Part:
    name: str = ""
    filename: str | None = None
    header_name: bytearray = field(default_factory=bytearray)
    header_value: bytearray = field(default_factory=bytearray)
    text: bytearray = field(default_factory=bytearray)


class _Target:
    """A file being written and hashed."""

    def __init__(self, path: Path, filename: str) -> None:
        self.path = path
        self.filename = filename
        self.size = 0
        self._digest = hashlib.sha256()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor: int | None = os.open(path, flags, 0o600)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def write(self, data: bytes, start: int, end: int) -> None:
        assert self._descriptor is not None
        piece = memoryview(data)[start:end]
        self._digest.update(piece)
        self.size += len(piece)
        while piece:
            piece = piece[os.write(self._descriptor, piece) :]

    def sync(self) -> None:
        """Have all of it on the disk, however long that takes."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class IncomingUpload:
    """Takes the body of one multipart request piece by piece: parts named `file`, at most one `signature`, fields.

    `accept` is asked with the name of each file before a byte of it is kept. `feed` and `finish` raise a
    `ServiceError` for a body that is not acceptable; whoever calls them then calls `abort`, which removes what was
    written. `finish` waits for the disk, so it is for a thread that may wait.
    """

    def __init__(
        self,
        folder: Path,
        content_type: str,
        announced: int | None,
        accept: Callable[[str], None] = lambda _filename: None,
    ) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise NotMultipart("Send the file as multipart/form-data, in a part named “file”.")
        self._folder = folder
        self._announced = announced
        self._received = self._looked = 0
        self._require_room()
        name = secrets.token_hex(16)
        self.path = folder / name
        self._pieces = folder / f"{name}.parts"
        self._signature_path = folder / f"{name}.sig"
        self._accept = accept
        self._files: list[_Target] = []
        self._signature: _Target | None = None
        self._fields: dict[str, str] = {}
        self._part = _Part()
        self._ended = False
        self._touched = time.monotonic()
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )

    def feed(self, data: bytes) -> None:
        """Take the next piece of the body."""
        try:
            self._received += len(data)
            if self._received - self._looked >= LOOK_EVERY_BYTES:
                self._looked = self._received
                self._require_room()
            self._parser.write(data)
            self._stay_fresh()
        except FormParserError as error:
            raise InvalidRequest(f"The upload is not well-formed: {error}", code="upload.form") from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StorageFull("The disk is full. Nothing of the upload was kept.") from error
            raise

    def _require_room(self) -> None:
        """Others write to the same disk: what was free when this upload began need not be free any more."""
        rest = LOOK_EVERY_BYTES if self._announced is None else max(0, self._announced - self._received)
        found = os.statvfs(self._folder)
        free = found.f_bavail * found.f_frsize
        if rest + SPARE_BYTES > free:
            raise StorageFull(
                f"The upload needs {rest:,} bytes more; only {free:,} are free. Make room and try again."
            )

    def _stay_fresh(self) -> None:
        """What is old in the incoming folder is taken for a leftover; what waits for the last file is none."""
        if time.monotonic() - self._touched > TOUCH_EVERY_S:
            self._touched = time.monotonic()
            for path in (self._pieces, self._signature_path):
                if path.exists():
                    os.utime(path)

    def finish(self) -> ReceivedFile:
        """The body is complete: give the files their places and return what arrived."""
        if not self._ended:
            raise InvalidRequest("The upload ended in the middle.", code="upload.truncated")
        if not self._files:
            raise InvalidRequest("The upload has no part named “file”.", code="upload.no_file")
        for target in (*self._files, self._signature):
            if target is not None:
                target.sync()
        signature = self._signature_path if self._signature else None
        if len(self._files) > 1:
            return self._laid_out(signature)
        only = self._files[0]
        return ReceivedFile(
            self.path, only.filename[:255], only.sha256, only.size, self._fields, signature=signature
        )

    def _laid_out(self, signature: Path | None) -> ReceivedFile:
        called, paths = laid_out([file.filename for file in self._files])
        self.path.mkdir(mode=0o700)
        for file, parts in zip(self._files, paths, strict=True):
            target = self.path.joinpath(*parts)
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.rename(file.path, target)
        for folder in {self.path.joinpath(*parts[:depth]) for parts in paths for depth in range(len(parts))}:
            sync_folder(folder)
        self._pieces.rmdir()
        digest = set_digest(
            ("/".join(parts), file.sha256) for file, parts in zip(self._files, paths, strict=True)
        )
        size = sum(file.size for file in self._files)
        return ReceivedFile(
            self.path, called[:255], digest, size, self._fields, is_folder=True, signature=signature
        )

    def abort(self) -> None:
        """Remove what was written."""
        for target in (*self._files, self._signature):
            if target is not None:
                target.close()
        _remove(self.path, self._pieces, self._signature_path)

    # --- what the parser tells us ---

    def _on_part_begin(self) -> None:
        self._part = _Part()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._extend(self._part.header_name, data[start:end], HEADER_LIMIT)

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._extend(self._part.header_value, data[start:end], HEADER_LIMIT)

    def _on_header_end(self) -> None:
        part = self._part
        if bytes(part.header_name).lower() == b"content-disposition":
            _, options = parse_options_header(bytes(part.header_value))
            part.name = options.get(b"name", b"").decode("utf-8", "replace")
            if b"filename" in options:
                part.filename = options[b"filename"].decode("utf-8", "replace")
        part.header_name.clear()
        part.header_value.clear()

    def _on_headers_finished(self) -> None:
        filename = self._part.filename or ""
        if self._is("file"):
            self._accept(filename)
            self._files.append(_Target(self._next_path(), filename))
        elif self._is("signature"):
            if self._signature is not None:
                raise InvalidRequest("Send one signature at most.", code="upload.signature")
            self._signature = _Target(self._signature_path, filename)
        elif len(self._fields) >= FIELDS_LIMIT:
            raise InvalidRequest("The upload has too many fields.", code="upload.form")

    def _next_path(self) -> Path:
        """Where the next file is written: alone, or with the others until all names are known."""
        count = len(self._files)
        if count == 0:
            return self.path
        if count >= MAX_FILES:
            raise InvalidRequest(f"An upload has at most {MAX_FILES} files.", code="upload.files")
        if count == 1:
            self._pieces.mkdir(mode=0o700)
            os.rename(self.path, self._pieces / "0")
            self._files[0].path = self._pieces / "0"
        return self._pieces / str(count)

    def _is(self, name: str) -> bool:
        return self._part.name == name and self._part.filename is not None

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._is("file"):
            self._files[-1].write(data, start, end)
        elif self._is("signature"):
            assert self._signature is not None
            if self._signature.size + end - start > MAX_SIGNATURE:
                raise InvalidRequest(
                    "The signature is larger than 1 MiB, which none is.", code="upload.signature"
                )
            self._signature.write(data, start, end)
        else:
            self._extend(self._part.text, data[start:end], FIELD_LIMIT)

    def _on_part_end(self) -> None:
        if self._is("file"):
            self._files[-1].close()
        elif self._is("signature"):
            assert self._signature is not None
            self._signature.close()
        else:
            try:
                self._fields[self._part.name] = self._part.text.decode("utf-8")
            except UnicodeDecodeError as error:
                raise InvalidRequest("A field of the upload is not UTF-8.", code="upload.form") from error

    def _on_end(self) -> None:
        self._ended = True

    @staticmethod
    def _extend(target: bytearray, data: bytes, limit: int) -> None:
        if len(target) + len(data) > limit:
            raise InvalidRequest("A field of the upload is too long.", code="upload.form")
        target.extend(data)


def _remove(*paths: Path | None) -> None:
    for path in paths:
        if path is not None and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path is not None:
            path.unlink(missing_ok=True)
