"""The rate that a view names in `rate`, applied to unsafe requests."""

from typing import Any

from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from secai_site.kernel.auth.principal import Principal
from secai_site.kernel.limits.rates import count


class CallerRate(BaseThrottle):
    """Counts requests that change something per caller; raises the project's own 429."""

    def allow_request(self, request: Request, view: Any) -> bool:
        caller = request.auth
        if request.method in SAFE_METHODS or not isinstance(caller, Principal):
            return True
        if caller.kind != "service" or caller.user is not None:
            count(request._request, rate=getattr(view, "rate", "write"), key=caller.rate_key)
        return True
