"""Uploads of any size: written and hashed while they arrive, never held in memory, never copied.

Daphne reads a whole body before it calls the application and hands it over through memory, so a model of ten
gigabytes cannot come that way. The server feeds such a body to an `IncomingUpload` instead; the view then finds
a `ReceivedFile` in its scope.
"""

import errno
import hashlib
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from secai_site.kernel.errors import InvalidRequest, ServiceError, StorageFull

SCOPE_KEY = "secai.upload"
FIELD_LIMIT = 4096
FIELDS_LIMIT = 16
HEADER_LIMIT = 8192
SPARE_BYTES = 64 * 1024 * 1024


class NotMultipart(ServiceError):
    """An upload comes as multipart/form-data with one part named `file`."""

    status = 415
    code = "request.media_type"


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """What arrived: the file at `path`, its client-side name, its digest, and the other form fields."""

    path: Path
    filename: str
    sha256: str
    size_bytes: int
    fields: dict[str, str]


@dataclass(slots=True)
class _Part:
    name: str = ""
    filename: str | None = None
    header_name: bytearray = field(default_factory=bytearray)
    header_value: bytearray = field(default_factory=bytearray)
    text: bytearray = field(default_factory=bytearray)


class IncomingUpload:
    """Takes the body of one multipart request piece by piece.

    `feed` and `finish` raise a `ServiceError` for a body that is not acceptable; whoever calls them then calls
    `abort`, which removes what was written.
    """

    def __init__(self, folder: Path, content_type: str, announced: int | None) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise NotMultipart("Send the file as multipart/form-data, in a part named “file”.")
        free = os.statvfs(folder)
        if announced is not None and announced + SPARE_BYTES > free.f_bavail * free.f_frsize:
            raise StorageFull(
                f"The file needs {announced:,} bytes; only {free.f_bavail * free.f_frsize:,} are free. Make room "
                "and try again."
            )
        self.path = folder / secrets.token_hex(16)
        self._file: int | None = None
        self._filename = ""
        self._digest = hashlib.sha256()
        self._size = 0
        self._fields: dict[str, str] = {}
        self._part = _Part()
        self._ended = False
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
            self._parser.write(data)
        except FormParserError as error:
            raise InvalidRequest(f"The upload is not well-formed: {error}", code="upload.form") from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StorageFull("The disk is full. Nothing of the upload was kept.") from error
            raise

    def finish(self) -> ReceivedFile:
        """The body is complete: flush and return what arrived."""
        if not self._ended:
            raise InvalidRequest("The upload ended in the middle.", code="upload.truncated")
        if self._file is None:
            raise InvalidRequest("The upload has no part named “file”.", code="upload.no_file")
        os.fsync(self._file)
        os.close(self._file)
        self._file = None
        return ReceivedFile(self.path, self._filename, self._digest.hexdigest(), self._size, self._fields)

    def abort(self) -> None:
        """Remove what was written."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self.path.unlink(missing_ok=True)

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
        if not self._is_file:
            if len(self._fields) >= FIELDS_LIMIT:
                raise InvalidRequest("The upload has too many fields.", code="upload.form")
            return
        if self._file is not None or self._size:
            raise InvalidRequest("Send one file at a time.", code="upload.two_files")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(self.path, flags, 0o600)
        self._filename = (self._part.filename or "")[:255]

    @property
    def _is_file(self) -> bool:
        return self._part.name == "file" and self._part.filename is not None

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if not self._is_file:
            self._extend(self._part.text, data[start:end], FIELD_LIMIT)
            return
        assert self._file is not None
        piece = memoryview(data)[start:end]
        self._digest.update(piece)
        self._size += len(piece)
        while piece:
            piece = piece[os.write(self._file, piece) :]

    def _on_part_end(self) -> None:
        if not self._is_file:
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
