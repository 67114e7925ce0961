"""The OpenAPI document, read off the same declarations that the views enforce."""

import re
from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, inline_serializer
from rest_framework import serializers

REFUSAL = inline_serializer(
    "Refusal",
    {
        "error": serializers.CharField(help_text="a sentence for people"),
        "code": serializers.CharField(help_text="area.reason, for programs"),
    },
)


class DeclaredSchema(AutoSchema):
    """Takes the request from `forms`, the query from `query`, the kind of answer from `answers`."""

    def get_operation_id(self) -> str:
        """`v1_model_name_get`: the route and the method, which no two operations share."""
        return f"{re.sub(r'[^a-z0-9]+', '_', self.path.lower()).strip('_')}_{self.method.lower()}"

    def get_request_serializer(self) -> Any:
        """The form that the view reads."""
        if self.method == "POST" and "multipart/form-data" in self.map_parsers():
            return inline_serializer(
                "Upload", {"file": serializers.FileField(), "name": serializers.CharField(required=False)}
            )
        return getattr(self.view, "forms", {}).get(self.method)

    def get_response_serializers(self) -> Any:
        """A JSON object or array when it worked, the common shape when not."""
        is_list = getattr(self.view, "answers_list", False) and self.method == "GET"
        answer: Any = (
            serializers.ListSerializer(child=serializers.DictField()) if is_list else OpenApiTypes.OBJECT
        )
        return {
            "200": OpenApiResponse(answer, "It worked."),
            "default": OpenApiResponse(REFUSAL, "Refused or failed; the code says why."),
        }

    def get_override_parameters(self) -> list[Any]:
        """The query of a list."""
        query = getattr(self.view, "query", None)
        return [query] if query is not None and self.method == "GET" else []
