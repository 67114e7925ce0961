"""What the registry's routes accept."""

from rest_framework import serializers

from secai_site.kernel.http.serializers import StrictSerializer, Text


class PromoteRequest(StrictSerializer):
    """POST /v1/promote."""

    name = Text(max_length=128)
    path = Text(max_length=1000)
    sha256 = serializers.RegexField(
        r"\A[0-9a-f]{64}\Z",
        trim_whitespace=False,
        error_messages={"invalid": "Write 64 lower-case hex digits."},
    )
    format = serializers.ChoiceField(choices=("gguf", "safetensors", "diffusion"))
    source = Text(max_length=500)  # type: ignore[assignment]


class SubmitRequest(StrictSerializer):
    """POST /v1/quarantine: a file in the incoming folder, by its bare name; without a name it gets its filename's."""

    path = Text(max_length=255)
    name = Text(max_length=128, allow_blank=True)
    filename = Text(max_length=255, allow_blank=True)
    source = Text(max_length=500)  # type: ignore[assignment]
    pin = serializers.RegexField(
        r"\A(?:[0-9a-f]{64})?\Z", trim_whitespace=False, required=False, allow_blank=True, default="",
        error_messages={"invalid": "Write 64 lower-case hex digits."},
    )  # fmt: skip
    signature = Text(max_length=255, allow_blank=True, required=False, default="")


class SourceRequest(StrictSerializer):
    """POST /v1/policy/admit"""

    source = Text(max_length=2000)  # type: ignore[assignment]
