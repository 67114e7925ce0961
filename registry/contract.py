"""What other services may ask of the registry."""

from typing import Any, Protocol, TypedDict

from secai_site.kernel.errors import ServiceError


class StageRecord(TypedDict):
    """One stage's verdict, as /v1/quarantine shows it."""

    name: str
    verdict: str
    reason: str
    evidence: dict[str, Any]
    duration_ms: int
    version: str


class FileRecord(TypedDict):
    """One file of a model that comes in several."""

    path: str
    sha256: str
    size_bytes: int


class ModelRecord(TypedDict):
    """A promoted model, as /v1/models shows it.

    `purpose`: what it can be used for: chat, completion, embedding, pictures or weights (`registry.purpose`).
    `files` is empty for a model in one file.
    """

    name: str
    path: str
    sha256: str
    format: str
    source: str
    status: str
    promoted_at: str
    gguf_guard_fingerprint: str | None
    gguf_guard_manifest: str | None
    size_bytes: int
    architecture: str | None
    quantization: str | None
    parameters: int | None
    context_length: int | None
    license: str | None
    purpose: str
    chat: bool
    files: list[FileRecord]
    facts: dict[str, Any]
    scan: list[StageRecord]


class QuarantineRecord(TypedDict):
    """A quarantined file, or set of files, with its stages, as /v1/quarantine shows it."""

    id: str
    name: str
    filename: str
    sha256: str
    size_bytes: int
    source: str
    status: str
    reason: str
    progress: dict[str, Any] | None
    created_at: str
    policy_version: int
    files: list[FileRecord]
    stages: list[StageRecord]


class ModelIntegrityFailed(ServiceError):
    """The model's file is not the one that was promoted; it was taken out of use."""

    status = 403
    code = "model.integrity"


class Registry(Protocol):
    """The registry, as the other services see it. `by` is the id of the person acted for."""

    def models(self) -> list[ModelRecord]:
        """All promoted models, by name."""

    def model(self, name: str) -> ModelRecord:
        """One model; raises `NotFound`."""

    def quarantine(self) -> list[QuarantineRecord]:
        """Files in quarantine that are not promoted, newest first."""

    def submit(
        self,
        *,
        path: str,
        name: str,
        filename: str,
        source: str,
        by: int | None,
        pin: str = "",
        signature: str = "",
    ) -> QuarantineRecord:
        """Put a file, or a folder of files, from the incoming folder into quarantine: moved, hashed, queued.

        `path` and `signature` are bare names in the incoming folder; a zip of a picture pipeline is unpacked. An
        empty `name` is made from the filename. `pin` is the SHA-256 that the file must have, "" for none.
        """

    def admit(self, source: str) -> dict[str, Any]:
        """Whether one may come from there: `{"allowed", "code", "reason", "max_size_bytes"}`; nothing is fetched."""

    def rescan(self, item_id: str, *, by: int | None) -> QuarantineRecord:
        """Scan a refused or held file again."""

    def promote_item(self, item_id: str, *, by: int | None) -> ModelRecord:
        """Promote a file that passed and is held for the operator."""

    def drop(self, item_id: str, *, by: int | None) -> None:
        """Delete a file from quarantine."""

    def delete(self, name: str, *, force: bool, by: int | None) -> None:
        """Delete a promoted model; raises a 409 while it is loaded, unless `force`."""

    def verify(self, *, by: int | None, name: str | None = None) -> dict[str, Any]:
        """Hash one model or all again; returns the report of /v1/model/verify-manifest."""

    def start_verify(self, *, by: int | None, name: str | None = None) -> str:
        """The same as a job; returns its id for `job`."""

    def job(self, job_id: str, *, by: int | None) -> dict[str, Any]:
        """How far a job is: `{"id", "kind", "state", "progress", "stage", "result", "error", "code"}`."""
