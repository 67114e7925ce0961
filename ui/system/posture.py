"""The security page: what protects the box now, computed from facts, and what does not exist yet."""

from pathlib import Path
from typing import Any

from django.conf import settings

from registry.contract import Registry
from secai_site.kernel import ports
from secai_site.kernel.errors import ServiceError
from secai_site.kernel.jobs.models import Job, JobState
from secai_site.kernel.sandbox.facts import Fact
from secai_site.kernel.sandbox.facts import read as read_facts
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
            *_confinement(read_facts(Path(settings.RUN_DIR))),
            _row("audit", True, "Every change is in the audit log.", "Events are chained, so that a changed or missing "
                 "one is found.", "manage.py audit_verify reads the chain back."),
            _row("vault", False, "There is no vault in this version.", "Conversations lie unencrypted in the database. "
                 "Whoever takes the disk can read them.", "Encrypt the disk."),
            _row("firewall", False, "There are no tools in this version.", "The model writes text, nothing else."),
        ],
    }  # fmt: skip


def _row(name: str, active: bool, state: str, meaning: str, action: str | None = None) -> dict[str, Any]:
    return {"name": name, "active": active, "state": state, "meaning": meaning, "action": action}


def _confinement(facts: list[Fact]) -> list[dict[str, Any]]:
    """What the kernel enforces on the processes that run now."""
    lacks = sorted({lack for fact in facts for lack in fact.lacks})
    confined = bool(facts) and not lacks
    upgrade = (
        None if confined else "Run on a newer kernel (Linux 6.12 has all of it); manage.py doctor says more."
    )
    weak = "; ".join(lacks) or "no process has reported its confinement"
    return [
        _row(
            "network", confined,
            "Nothing leaves this box: the kernel refuses it." if confined else f"Not enforced by the kernel: {weak}.",
            "No process may open a connection to the outside. Downloads and web search come with the airlock.", upgrade,
        ),
        _row(
            "confinement", confined,
            f"{len(facts)} processes are confined." if confined else f"Incomplete: {weak}.",
            "Each process sees this program and its state and no other files, and gains no rights.", upgrade,
        ),
    ]  # fmt: skip


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
    finished = Job.objects.filter(kind="registry.verify", state=JobState.SUCCEEDED.value)
    done = finished.exclude(arguments__has_key="name").order_by("-finished_at").first()
    if done is None or done.finished_at is None or not isinstance(done.result, dict):
        return None
    return {"ok": bool(done.result.get("ok")), "at": moment(done.finished_at)}


def _all_sound() -> bool:
    try:
        return all(model["status"] == "promoted" for model in ports.get(Registry).models())
    except ServiceError:
        return False
