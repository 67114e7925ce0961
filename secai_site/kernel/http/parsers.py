"""Strict JSON: what any two parsers could read differently is refused."""

import json
import math
from collections.abc import Mapping
from typing import IO, Any, NoReturn

from django.conf import settings
from rest_framework.parsers import BaseParser

from secai_site.kernel.errors import InvalidRequest, ServiceError

DEPTH_LIMIT = 32


class BodyTooLarge(ServiceError):
    """The request body is larger than this route takes."""

    status = 413
    code = "request.too_large"


def parse_json(raw: bytes) -> Any:
    """Parse one JSON document.

    Raises `InvalidRequest` for bytes that are not UTF-8, a byte order mark, duplicate keys, NaN and infinities,
    nesting over 32, lone surrogates, numbers too long to convert, and data after the document.
    """
    try:
        text = raw.decode("utf-8")
        if _depth(text) > DEPTH_LIMIT:
            raise InvalidRequest(f"The JSON is nested deeper than {DEPTH_LIMIT} levels.", code="json.depth")
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest("The body is not UTF-8.", code="json.encoding") from error
    except UnicodeEncodeError as error:
        raise InvalidRequest(
            "The JSON contains half a character (a lone surrogate).", code="json.encoding"
        ) from error
    except RecursionError as error:
        raise InvalidRequest("The JSON is nested too deep.", code="json.depth") from error
    except ValueError as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}", code="json.syntax") from error
    return value


def _depth(text: str) -> int:
    """How deep brackets nest outside strings, found without recursion."""
    deepest = depth = 0
    quoted = escaped = False
    for character in text:
        if quoted:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                quoted = False
        elif character == '"':
            quoted = True
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise InvalidRequest("The JSON has the same key twice in one object.", code="json.duplicate_key")
    return result


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise InvalidRequest("The JSON contains a number that is too large.", code="json.number")
    return value


def _no_constant(name: str) -> NoReturn:
    raise InvalidRequest(f"The JSON contains {name}, which is no number.", code="json.number")


class StrictJSONParser(BaseParser):
    """DRF's JSON parser with the rules above; a view may set `body_limit` in bytes."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        view = (parser_context or {}).get("view")
        limit: int = getattr(view, "body_limit", settings.BODY_LIMIT)
        raw = stream.read(limit + 1)
        if len(raw) > limit:
            raise BodyTooLarge(f"The body is larger than {limit // 1024} KiB.")
        return parse_json(raw)
