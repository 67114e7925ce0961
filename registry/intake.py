"""Taking files in: from the incoming folder into quarantine, under names of ours, hashed as opened.

The order survives a crash at any point: what is known of the files is written down beside them first, then they
move in one rename, then the row and its scan are entered. `adopt` enters what a crash left without a row.
"""

import json
import logging
import os
import shutil
import stat
import time
import uuid
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from registry import names, policies
from registry.models import Artifact, QuarantineItem
from registry.quarantine.unpack import looks_like_set, unpack
from secai_site.kernel.audit.log import record
from secai_site.kernel.errors import InvalidRequest, NotFound, ServiceError
from secai_site.kernel.files import (
    PathRefused,
    open_below,
    parts_below,
    publish,
    set_digest,
    sha256_of,
    sync_folder,
)
from secai_site.kernel.jobs.queue import enqueue

log = logging.getLogger(__name__)

MAX_FILES = 500
MAX_DEPTH = 4
MAX_SIGNATURE = 1024 * 1024
NOTE = "intake.json"


def submit(
    *, path: str, name: str, filename: str, source: str, actor: str, pin: str = "", signature: str = ""
) -> QuarantineItem:
    """Move a file, or a folder of files, from the incoming folder into quarantine and queue its scan.

    Everything is opened by descriptor without following links and hashed from the opened bytes. A zip that
    carries a set of files is unpacked; a folder with a single file counts as that file. Raises `NameRefused`,
    `PathRefused`, `NotFound`, `UnpackRefused`.
    """
    incoming = Path(settings.QUARANTINE_DIR) / "incoming"
    wanted = names.checked(name) if name else names.from_filename(filename)
    require_free_name(wanted)
    item = QuarantineItem(id=uuid.uuid4(), name=wanted, source=source, pin=pin, submitted_by=actor)
    item.folder.mkdir(mode=0o700)
    try:
        if signature:
            _take_signature(incoming, signature, item)
        _take(incoming, path, filename, item)
    except (ServiceError, OSError):  # refused, so nothing of it stays; what a crash leaves is for `adopt`
        if not item.file.exists():
            shutil.rmtree(item.folder, ignore_errors=True)
        raise
    return _enter(item)


def require_free_name(name: str) -> None:
    """Raise `NameRefused` when a model in use has this name; one that was taken out of use holds no name."""
    if Artifact.objects.filter(name_key=names.key_of(name), status="promoted").exists():
        raise name_taken(name)


def name_taken(name: str) -> names.NameRefused:
    """The refusal of a name that another model has."""
    return names.NameRefused(
        f"There is already a model named “{name}”. Choose another name, or delete the old one first.",
        code="model.name_taken",
    )


def _take(incoming: Path, path: str, filename: str, item: QuarantineItem) -> None:
    arrived, item.filename = _unpacked(incoming, path, filename[:255], item)
    if (incoming / arrived).is_dir():
        _take_folder(incoming / arrived, item)
    else:
        _take_file(incoming, arrived, item)


def _unpacked(incoming: Path, path: str, filename: str, item: QuarantineItem) -> tuple[str, str]:
    """The bare name of what is to be taken in, unpacked if it is a zip of a set, and what it is called.

    A pin names the file as it arrives, so the zip's is compared here and does not bind what was in it.
    """
    inside = incoming.joinpath(*parts_below(incoming, path))  # neither “.” nor “..”, which are folders too
    if inside.parent == incoming and not inside.is_symlink() and inside.is_dir():
        return _alone(incoming, inside.name, filename)
    descriptor, folder = open_below(incoming, path), uuid.uuid4().hex
    try:
        if not looks_like_set(descriptor):
            return path, filename
        if item.pin and sha256_of(descriptor) != item.pin:
            raise InvalidRequest("The archive has another SHA-256 than was named.", code="upload.digest")
        item.pin = ""
        unpack(descriptor, incoming / folder, limit=policies.current()[0].max_size_bytes)
        found = _alone(incoming, folder, filename)
    except ServiceError:
        shutil.rmtree(incoming / folder, ignore_errors=True)
        raise
    finally:
        os.close(descriptor)
    inside.unlink()
    return found


def _alone(incoming: Path, folder: str, filename: str) -> tuple[str, str]:
    """The folder, or its only file where it has no more than that."""
    paths = _paths(incoming / folder)
    if len(paths) > 1:
        return folder, filename
    name = uuid.uuid4().hex
    os.rename(incoming / folder / paths[0], incoming / name)
    shutil.rmtree(incoming / folder)
    return name, Path(paths[0]).name


def _take_signature(incoming: Path, name: str, item: QuarantineItem) -> None:
    descriptor = open_below(incoming, name)
    try:
        if os.fstat(descriptor).st_size > MAX_SIGNATURE:
            raise InvalidRequest("The signature is larger than 1 MiB, which none is.", code="signature.size")
        publish(descriptor, incoming / name, item.signature)
    finally:
        os.close(descriptor)
    (incoming / name).unlink()


def _take_file(incoming: Path, name: str, item: QuarantineItem) -> None:
    descriptor = open_below(incoming, name)
    try:
        item.sha256, item.size_bytes = sha256_of(descriptor), os.fstat(descriptor).st_size
        _write_note(item)
        publish(descriptor, incoming / name, item.file)
    finally:
        os.close(descriptor)
    (incoming / name).unlink()


def _take_folder(folder: Path, item: QuarantineItem) -> None:
    item.files = [_file_of(folder, path) for path in _paths(folder)]
    item.sha256 = set_digest((file["path"], file["sha256"]) for file in item.files)
    item.size_bytes = sum(file["size_bytes"] for file in item.files)
    _write_note(item)
    os.rename(folder, item.file)
    sync_folder(item.folder)


def _file_of(folder: Path, path: str) -> dict[str, Any]:
    """One file of a set, made read-only and flushed."""
    descriptor = open_below(folder, path)
    try:
        os.fchmod(descriptor, 0o400)
        os.fsync(descriptor)
        return {"path": path, "sha256": sha256_of(descriptor), "size_bytes": os.fstat(descriptor).st_size}
    finally:
        os.close(descriptor)


def _paths(folder: Path) -> list[str]:
    """The relative paths of all files below `folder`, sorted; links and specials are refused."""
    found: list[str] = []
    for here, folders, files in os.walk(folder, followlinks=False):
        relative = Path(here).relative_to(folder)
        for name in (*folders, *files):
            if not name.isprintable():  # what has no Unicode, too; a line end would forge the set's digest
                raise PathRefused("The folder holds a file whose name has characters that cannot be shown.")
            mode = os.lstat(Path(here) / name).st_mode
            if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
                raise PathRefused("The folder holds a link or something else that is no regular file.")
        found += [str(relative / name) for name in files]
        if len(relative.parts) > MAX_DEPTH or len(found) > MAX_FILES:
            raise InvalidRequest(
                f"A model has at most {MAX_FILES} files, at most {MAX_DEPTH} folders deep.",
                code="upload.files",
            )
    if not found:
        raise NotFound("The folder holds no files.", code="path.missing")
    return sorted(found)


# --- the row -----------------------------------------------------------------------------------------

NOTED = ("name", "filename", "sha256", "size_bytes", "files", "source", "pin", "submitted_by")


def _write_note(item: QuarantineItem) -> None:
    """Say beside the files what is known of them, before they come, so that a crash loses nothing."""
    note = item.folder / NOTE
    with note.open("x", encoding="utf-8") as file:
        json.dump({name: getattr(item, name) for name in NOTED}, file)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(item.folder)


def _enter(item: QuarantineItem) -> QuarantineItem:
    with transaction.atomic(durable=True):
        item.save(force_insert=True)
        enqueue("registry.scan", subject=str(item.pk), item_id=str(item.pk))
        record(
            "registry.file:submitted", actor=item.submitted_by, target=f"quarantine:{item.pk}",
            detail={"sha256": item.sha256, "size_bytes": item.size_bytes, "files": len(item.files) or 1},
        )  # fmt: skip
    (item.folder / NOTE).unlink(missing_ok=True)
    return item


def _noted(note: Path) -> QuarantineItem:
    """The item that a note tells of; raises `ValueError`, `TypeError` or `OSError` when it is cut off or strange."""
    said = json.loads(note.read_text(encoding="utf-8"))
    if not isinstance(said, dict) or set(said) != set(NOTED):
        raise ValueError("other fields than a note has")
    return QuarantineItem(id=uuid.UUID(note.parent.name), **said)


def adopt(*, older_than: float = 0) -> int:
    """Enter files that a crash, or a database that was away, left in quarantine without a row; returns how many.

    Call it before serving; while the box serves, only for notes older than `older_than` seconds, since the younger
    ones belong to somebody who is at it.
    """
    adopted = 0
    for note in Path(settings.QUARANTINE_DIR).glob(f"*/{NOTE}"):
        try:
            if note.stat().st_mtime > time.time() - older_than:
                continue
            item = _noted(note)
        except (ValueError, TypeError, OSError):
            log.warning("the note %s cannot be read; its folder is swept away later", note)
            continue
        if QuarantineItem.objects.filter(pk=item.pk).exists():
            note.unlink()
        elif item.file.exists():
            _enter(item)
            adopted += 1
    return adopted
