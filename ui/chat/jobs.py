"""The chat's recurring work."""

from typing import Any

from secai_site.kernel.jobs.queue import job
from secai_site.kernel.jobs.worker import JobContext
from ui.chat.services import purge_trash


@job("chat.purge", every=lambda: 24 * 3600)
def purge(_context: JobContext) -> dict[str, Any]:
    """Empty the trash of what is older than 30 days."""
    return {"purged": purge_trash()}
