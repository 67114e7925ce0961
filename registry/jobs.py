"""The registry's long work: scanning what came in, checking what was promoted, clearing up."""

from typing import Any

from asgiref.sync import async_to_sync
from django.conf import settings

from registry import services
from registry.integrity import verify_all
from registry.lifecycle import ItemStatus
from registry.models import QuarantineItem
from secai_site.kernel import ports
from secai_site.kernel.errors import ServiceError
from secai_site.kernel.inference.errors import EngineDown
from secai_site.kernel.inference.protocol import Engine
from secai_site.kernel.jobs.queue import job
from secai_site.kernel.jobs.worker import JobContext


@job("registry.scan")
def scan_item(context: JobContext, *, item_id: str) -> dict[str, Any]:
    """Scan one quarantined file and, where promotion is automatic, promote it. Safe to repeat."""
    from registry.quarantine.scan import scan

    item = QuarantineItem.objects.filter(pk=item_id).first()
    if item is None or item.status not in (ItemStatus.WAITING, ItemStatus.SCANNING, ItemStatus.HELD):
        return {"status": "gone" if item is None else item.status}
    if item.status != ItemStatus.HELD and not scan(item, context):
        return {"status": item.status}
    if settings.PROMOTION == "automatic":
        try:
            services.promote_item(item=item, actor="service:jobs")
        except ServiceError as error:
            services.explain(item=item, reason=f"It passed every check, but: {error.message}")
            raise
    return {"status": item.status}


@job("registry.verify", every=lambda: settings.INTEGRITY_INTERVAL_S)
def verify(context: JobContext, *, name: str | None = None) -> dict[str, Any]:
    """Hash the promoted models again; unload those that changed."""
    report = verify_all(context.progress, name=name)
    for result in report["models"]:
        if result["status"] != "verified":
            unload(result["name"])
    return report


@job("registry.sweep", every=lambda: 6 * 3600)
def sweep(_context: JobContext) -> dict[str, Any]:
    """Delete what crashes left behind."""
    return services.sweep()


def unload(name: str) -> None:
    """Take a model out of the engine's memory; an engine that is down has nothing in memory."""
    try:
        async_to_sync(ports.get(Engine).unload)(name)
    except EngineDown:
        return
