"""The registry behind its listener: the contract, spoken over HTTP."""

from typing import Any
from urllib.parse import quote

from registry.contract import ModelRecord, QuarantineRecord
from secai_site.kernel.http.peer import Peer

# Calls that hash whole models wait for a slow disk to deliver hundreds of gigabytes.
HASHING_S = 3600.0


class RegistryClient:
    """Implements `Registry` for one caller."""

    def __init__(self, *, caller: str) -> None:
        self._peer = Peer("registry", caller=caller)

    def models(self) -> list[ModelRecord]:
        found: list[ModelRecord] = self._peer.call("GET", "/v1/models")
        return found

    def model(self, name: str) -> ModelRecord:
        found: ModelRecord = self._peer.call("GET", f"/v1/model/{quote(name, safe='')}")
        return found

    def quarantine(self) -> list[QuarantineRecord]:
        found: list[QuarantineRecord] = self._peer.call("GET", "/v1/quarantine")
        return found

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
        body = {
            "path": path, "name": name, "filename": filename, "source": source, "pin": pin, "signature": signature,
        }  # fmt: skip
        made: QuarantineRecord = self._peer.call(
            "POST", "/v1/quarantine", json=body, on_behalf_of=by, patience=HASHING_S
        )
        return made

    def admit(self, source: str) -> dict[str, Any]:
        decision: dict[str, Any] = self._peer.call("POST", "/v1/policy/admit", json={"source": source})
        return decision

    def rescan(self, item_id: str, *, by: int | None) -> QuarantineRecord:
        item: QuarantineRecord = self._peer.call(
            "POST", f"/v1/quarantine/{item_id}/rescan", json={}, on_behalf_of=by
        )
        return item

    def promote_item(self, item_id: str, *, by: int | None) -> ModelRecord:
        made: ModelRecord = self._peer.call(
            "POST", f"/v1/quarantine/{item_id}/promote", json={}, on_behalf_of=by
        )
        return made

    def drop(self, item_id: str, *, by: int | None) -> None:
        self._peer.call("DELETE", f"/v1/quarantine/{item_id}", on_behalf_of=by)

    def delete(self, name: str, *, force: bool, by: int | None) -> None:
        params = {"force": "true"} if force else None
        self._peer.call("DELETE", f"/v1/model/{quote(name, safe='')}", params=params, on_behalf_of=by)

    def verify(self, *, by: int | None, name: str | None = None) -> dict[str, Any]:
        params = {"name": name} if name else None
        report: dict[str, Any] = self._peer.call(
            "POST", "/v1/model/verify-manifest", json={}, params=params, on_behalf_of=by, patience=HASHING_S
        )
        return report

    def start_verify(self, *, by: int | None, name: str | None = None) -> str:
        params = {"async": "true"} | ({"name": name} if name else {})
        started = self._peer.call(
            "POST", "/v1/model/verify-manifest", json={}, params=params, on_behalf_of=by
        )
        return str(started["job"])

    def job(self, job_id: str, *, by: int | None) -> dict[str, Any]:
        found: dict[str, Any] = self._peer.call("GET", f"/v1/jobs/{quote(job_id, safe='')}", on_behalf_of=by)
        return found
