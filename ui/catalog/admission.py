"""What the registry's policy lets in, asked before a byte is kept."""

import time
from collections.abc import Callable
from typing import TypeVar

from registry.contract import Registry
from secai_site.kernel import ports
from secai_site.kernel.errors import NotAllowed, ServiceError
from secai_site.kernel.jobs.worker import JobContext
from ui.catalog.stream import WAIT_S

RETRY_S = (0.5, 2.0, 5.0, 15.0)
PASSING = (429, 503)  # the registry is starting, or busy
Answer = TypeVar("Answer")


class SourceRefused(NotAllowed):
    """The operator's policy takes no models from there."""

    code = "download.source"


class SizeRefused(ServiceError):
    """The operator's policy takes no models of this size."""

    status = 413
    code = "policy.size"


def admitted(source: str) -> int | None:
    """The size in bytes that a model from `source` may have, None where the registry names no limit.

    Raises `SourceRefused`, and `Unavailable` when the registry does not answer.
    """
    decision = ports.get(Registry).admit(source)
    if decision.get("allowed") is not True:
        raise SourceRefused(str(decision.get("reason")), code=str(decision.get("code") or SourceRefused.code))
    most = decision.get("max_size_bytes")
    return int(most) if most is not None else None


def require_size(size_bytes: int, most: int | None) -> None:
    """Raise `SizeRefused` when so many bytes are more than `most`."""
    if most is not None and size_bytes > most:
        raise SizeRefused(
            f"This model is larger than the {most:,} bytes that the operator's policy allows. Choose a smaller one.",
            max_size_bytes=most,
        )


def patiently(context: JobContext, ask: Callable[[], Answer]) -> Answer:
    """What the registry answers; a job waits a while for one that is starting or busy."""
    for wait in RETRY_S:
        try:
            return ask()
        except ServiceError as error:
            if error.http_status not in PASSING:
                raise
        until = time.monotonic() + wait
        while time.monotonic() < until:
            context.check()
            time.sleep(WAIT_S)
    return ask()
