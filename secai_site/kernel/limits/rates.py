"""Counting a caller's requests (django-ratelimit on the shared counters)."""

from django.conf import settings
from django.http import HttpRequest
from django_ratelimit.core import get_usage

from secai_site.kernel.errors import TooMany


def count(request: HttpRequest | None, *, rate: str, key: str) -> None:
    """Count one request of `key` against the named rate; raises `TooMany` when it is used up."""
    usage = get_usage(
        request, group=rate, key=lambda _group, _request: key, rate=settings.RATES[rate], increment=True
    )
    if usage and usage["should_limit"]:
        wait = max(1, int(usage["time_left"]))
        raise TooMany(
            f"Too many requests: at most {settings.RATES[rate].replace('/m', ' a minute')}. Try again in {wait} s.",
            retry_after=wait,
        )
