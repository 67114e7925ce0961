"""The security page: what protects the box now, computed from facts, and what does not exist yet."""

from typing import Any

from registry.contract import Registry
from secai_site.kernel import ports
from secai_site.kernel.errors import ServiceError
from secai_site.kernel.jobs.models import Job, JobState
from ui.chat.selectors import moment


def posture() -> dict[str, Any]:
    """The six fields of the reference, and one row per protection with what it means and what to do."""
    integrity = last_verification()
    sound = _all_sound()
    return {
        "vault_status": "uninitialized",
        "firewall_active": False,
        "airlock_enabled": False,
        "search_enabled": False,
        "integrity_ok": sound and integrity is not None and integrity["ok"],
        "last_integrity_check": integrity["at"] if integrity else None,
        "protections": [
            _quarantine(),
            _integrity(sound, integrity),
            _row("network", True, "Nothing leaves this box.", "No service of this version opens a connection to the "
                 "outside; downloads and web search come with the airlock."),
            _row("audit", True, "Every change is in the audit log.", "Events are chained, so that a changed or missing "
                 "one is found.", "manage.py audit_verify reads the chain back."),
            _row("vault", False, "There is no vault in this version.", "Conversations lie unencrypted in the database. "
                 "Whoever takes the disk can read them.", "Encrypt the disk."),
            _row("firewall", False, "There are no tools in this version.", "The model writes text, nothing else."),
        ],
    }  # fmt: skip


def _row(name: str, active: bool, state: str, meaning: str, action: str | None = None) -> dict[str, Any]:
    return {"name": name, "active": active, "state": state, "meaning": meaning, "action": action}


def _quarantine() -> dict[str, Any]:
    return _row(
        "quarantine", True, "Only models that passed every check can be loaded.",
        "A file is taken apart, checked and tried in isolation before anything uses it.",
    )  # fmt: skip


def _integrity(sound: bool, last: dict[str, Any] | None) -> dict[str, Any]:
    meaning = "A model whose file changed after its promotion is taken out of use."
    if last is None:
        return _row("integrity", False, "The models have not been checked since the box started.", meaning,
                    "Wait for the first check, or verify them on the Models page.")  # fmt: skip
    if not (sound and last["ok"]):
        return _row("integrity", False, "A model's file has changed.", meaning,
                    "Look at the Models page: remove the model and import it again.")  # fmt: skip
    return _row("integrity", True, "All models are what they were when promoted.", meaning)


def last_verification() -> dict[str, Any] | None:
    """The newest finished check of all models: `{"ok", "at"}`."""
    done = (
        Job.objects.filter(kind="registry.verify", state=JobState.SUCCEEDED.value)
        .order_by("-finished_at")
        .first()
    )
    if done is None or done.finished_at is None or not isinstance(done.result, dict):
        return None
    return {"ok": bool(done.result.get("ok")), "at": moment(done.finished_at)}


def _all_sound() -> bool:
    try:
        return all(model["status"] == "promoted" for model in ports.get(Registry).models())
    except ServiceError:
        return False
