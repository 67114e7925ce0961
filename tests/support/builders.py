"""Rows and files to start from, made the way the product makes them where that is cheap."""

import hashlib
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from registry import intake, store
from registry.contract import StageRecord
from registry.lifecycle import STAGES, ItemStatus, Verdict
from registry.models import Artifact, QuarantineItem, StageResult
from registry.purpose import purpose_of
from registry.quarantine import scan
from registry.quarantine.stages.base import StageVerdict, Subject
from registry.record import make_record
from secai_site.kernel.auth.models import User
from ui.chat.models import Conversation, Message, MessageState

BOUNDARY = "a-boundary-of-the-tests"


def promoted(
    name: str = "tiny", *, data: bytes | None = None, chat: bool = True, format: str = "gguf"
) -> Artifact:
    """A model in the registry, its bytes in the store."""
    data = name.encode() * 64 if data is None else data
    digest = hashlib.sha256(data).hexdigest()
    target = store.store_path(digest)
    if not target.exists():
        target.parent.mkdir(mode=0o700, parents=True)
        target.write_bytes(data)
        target.chmod(0o400)
    stages: list[StageRecord] = [
        {"name": name, "verdict": "pass", "reason": "", "evidence": {}, "duration_ms": 0, "version": "1"}
        for name in STAGES
    ]
    return Artifact.objects.create(
        name=name, path=str(target), sha256=digest, size_bytes=len(data), format=format, source="local",
        promoted_by="test", scan=stages,
        facts={"chat": chat, "tensor_count": 2, "purpose": "chat" if chat else purpose_of(format, {}).value},
        record=make_record(
            name=name, sha256=digest, source="local", promoted_by="test", policy_version=0, stages=stages
        ),
    )  # fmt: skip


def incoming(data: bytes = b"some bytes") -> str:
    """A file in the incoming folder; returns its bare name."""
    name = uuid.uuid4().hex
    (Path(settings.QUARANTINE_DIR) / "incoming" / name).write_bytes(data)
    return name


def submitted(name: str = "tiny", data: bytes = b"some bytes", *, source: str = "local") -> QuarantineItem:
    """A file that waits in quarantine."""
    return intake.submit(
        path=incoming(data), name=name, filename=f"{name}.gguf", source=source, actor="user:1"
    )


def held(name: str = "tiny", data: bytes = b"some bytes", *, format: str = "gguf") -> QuarantineItem:
    """A file that passed every stage (as if) and waits for promotion."""
    item = submitted(name, data)
    evidence: dict[str, dict[str, Any]] = {
        "format_gate": {
            "format": format,
            "facts": {"architecture": "llama", "tensor_count": 2, "chat_template": "x"},
        },
        "static_scan": {"chat": True, "fingerprint": "f" * 64, "merkle_root": "e" * 64},
    }
    StageResult.objects.bulk_create(
        StageResult(
            item=item, position=n, name=stage, verdict=Verdict.PASS.value, version=scan.versions().get(stage, "1"),
            sha256=item.sha256,
            evidence=evidence.get(stage, {}),
        )
        for n, stage in enumerate(STAGES)
    )  # fmt: skip
    QuarantineItem.objects.filter(pk=item.pk).update(status=ItemStatus.HELD.value)
    item.refresh_from_db()
    return item


@dataclass(frozen=True, slots=True)
class ScriptedStage:
    """A stage that says what a test wants to hear, in place of one that needs an engine."""

    name: str
    verdict: StageVerdict | BaseException
    version: str = "1"

    def __call__(self) -> "ScriptedStage":
        """Stages are given as classes; this one is its own factory."""
        return self

    def examine(self, subject: Subject) -> StageVerdict:
        if isinstance(self.verdict, BaseException):
            raise self.verdict
        return self.verdict


def conversation(owner: User, *texts: str, title: str = "A talk") -> Conversation:
    """A conversation with questions and answers in turn, one branch."""
    made = Conversation.objects.create(owner=owner, title=title, model="tiny")
    above: Message | None = None
    for number, text in enumerate(texts):
        role = "assistant" if number % 2 else "user"
        above = Message.objects.create(
            conversation=made, parent=above, role=role, content=text, state=MessageState.COMPLETE.value
        )
    made.active_leaf = above.pk if above else None
    made.save(update_fields=["active_leaf"])
    return made


def form(*parts: tuple[str, str | None, bytes], end: bool = True) -> bytes:
    """A multipart body of (name, file name or None, bytes)."""
    pieces = []
    for name, filename, data in parts:
        file = f'; filename="{filename}"' if filename is not None else ""
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        pieces.append(head.encode() + data + b"\r\n")
    return b"".join(pieces) + (f"--{BOUNDARY}--\r\n".encode() if end else b"")


def flip_byte(path: Path, offset: int = 3) -> None:
    """Change one byte and put the time of the last change back, as somebody who hides it would."""
    before = path.stat()
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1]))
    path.chmod(0o400)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
