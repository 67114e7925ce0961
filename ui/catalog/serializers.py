"""What the routes of models accept."""

from typing import Any

from rest_framework import serializers

from secai_site.kernel.http.serializers import StrictSerializer, Text

SHA256_FORM = r"\A[0-9a-f]{64}\Z"


class DownloadRequest(StrictSerializer):
    """POST /api/models/download. Whether models may come from there is the registry's word."""

    url = serializers.RegexField(
        r"\Ahttps://[!-~]+\Z", max_length=2000, trim_whitespace=False,
        error_messages={"invalid": "Write a whole address that begins with https://, without spaces."},
    )  # fmt: skip
    name = serializers.RegexField(
        r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z", trim_whitespace=False,
        error_messages={
            "invalid": "A model's name has 1 to 128 letters, digits, dots, underscores or hyphens, and starts with a "
            "letter or digit."
        },
    )  # fmt: skip
    sha256 = serializers.RegexField(
        SHA256_FORM, trim_whitespace=False, required=False, allow_blank=True, default="",
        error_messages={"invalid": "Write 64 lower-case hex digits."},
    )  # fmt: skip

    def to_internal_value(self, data: Any) -> Any:
        for name in ("url", "name", "sha256"):
            if name in data and not isinstance(data[name], str):
                raise serializers.ValidationError({name: ["Write a string."]})
        return super().to_internal_value(data)


class FitQuery(StrictSerializer):
    """GET /api/models/fit: a model by its name, a file in quarantine by its id, or a size."""

    name = Text(max_length=128, required=False)
    id = serializers.UUIDField(required=False)
    size_bytes = serializers.IntegerField(min_value=1, max_value=2**60, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if len(attrs) != 1:
            raise serializers.ValidationError("Ask by one of name, id and size_bytes.")
        return attrs
