"""Refused requests in the audit log, so many a minute that nobody can fill the disk with them."""

import logging

from django.db import DatabaseError
from django.http import HttpRequest

from secai_site.kernel.audit.log import record_refusal
from secai_site.kernel.errors import ServiceError, TooMany, Unavailable
from secai_site.kernel.limits.rates import count

log = logging.getLogger(__name__)

WORTH_RECORDING = frozenset({401, 403, 429})


def note(request: HttpRequest, error: ServiceError, actor: str) -> None:
    """Record that `actor` was refused; a caller who showed no credentials at all is not worth a line."""
    shown = "Authorization" in request.headers or actor != "nobody"
    if error.http_status not in WORTH_RECORDING or not (shown or error.http_status == 403):
        return
    try:
        count(None, rate="refusals", key="box")
        record_refusal("http.request:refused", actor=actor, target=request.path[:200], code=error.error_code)
    except TooMany:
        return
    except (DatabaseError, Unavailable) as failure:
        log.error("a refusal could not be recorded: %s", failure)
