"""JSON for programs, the browsable API for people who follow a link."""

from collections.abc import Iterable
from typing import Any

from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer, BrowsableAPIRenderer
from rest_framework.request import Request


class BrowsableRenderer(BrowsableAPIRenderer):
    """DRF's browsable API in the product's colours."""

    template = "rest_framework/api.html"
    charset = "utf-8"


class LenientNegotiation(DefaultContentNegotiation):
    """Answers in JSON whatever a program says it accepts (event streams included), instead of a bare 406."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        accept = request.headers.get("Accept", "")
        if "text/html" not in accept:
            first = next(iter(renderers))
            return first, first.media_type or "application/json"
        chosen: Any = super().select_renderer(request, renderers, format_suffix)
        return chosen  # type: ignore[no-any-return]
