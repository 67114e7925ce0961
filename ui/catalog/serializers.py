"""What the routes of models accept."""

from typing import Any

from rest_framework import serializers

from secai_site.kernel.http.serializers import StrictSerializer, Text
from ui.catalog.models import address_of

SOURCE_LIMIT = 500  # what the registry keeps of where a model comes from
SHA256_FORM = r"\A[0-9a-f]{64}\Z"


class Strings(StrictSerializer):
    """Takes JSON strings and nothing that could be turned into one."""

    def to_internal_value(self, data: Any) -> Any:
        for name, value in data.items():
            if name in self.fields and not isinstance(value, str):
                raise serializers.ValidationError({name: ["Write a string."]})
        return super().to_internal_value(data)


class ModelName(serializers.RegexField):
    """What a model may be called."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z", trim_whitespace=False,
            error_messages={
                "invalid": "A model's name has 1 to 128 letters, digits, dots, underscores or hyphens, and starts with "
                "a letter or digit."
            },
            **options,
        )  # fmt: skip


class DownloadRequest(Strings):
    """POST /api/models/download. Whether models may come from there is the registry's word."""

    url = serializers.RegexField(
        r"\Ahttps://[!-~]+\Z", max_length=2000, trim_whitespace=False,
        error_messages={"invalid": "Write a whole address that begins with https://, without spaces."},
    )  # fmt: skip
    name = ModelName()
    sha256 = serializers.RegexField(
        SHA256_FORM, trim_whitespace=False, required=False, allow_blank=True, default="",
        error_messages={"invalid": "Write 64 hex digits."},
    )  # fmt: skip

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data.get("sha256"), str):
            data = {**data, "sha256": data["sha256"].lower()}
        return super().to_internal_value(data)

    def validate_url(self, url: str) -> str:
        if len(address_of(url)) > SOURCE_LIMIT:
            raise serializers.ValidationError(
                f"This address is too long: without what follows a “?” it may have {SOURCE_LIMIT} characters. Use a "
                "shorter address of the same file, or upload the file instead."
            )
        return url


class ResumeRequest(Strings):
    """POST /api/models/downloads/{id}/resume; another `name` where the first is taken by now."""

    name = ModelName(required=False)


class FitQuery(StrictSerializer):
    """GET /api/models/fit: a model by its name, a file in quarantine by its id, or a size."""

    name = Text(max_length=128, required=False)
    id = serializers.UUIDField(required=False)
    size_bytes = serializers.IntegerField(min_value=1, max_value=2**60, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if len(attrs) != 1:
            raise serializers.ValidationError("Ask by one of name, id and size_bytes.")
        return attrs
