"""What the chat's routes and its websocket accept."""

from typing import Any

from rest_framework import serializers

from secai_site.kernel.errors import ServiceError
from secai_site.kernel.http.serializers import Decimal, Flag, Identifier, StrictSerializer, Text, Whole

TEXT_LIMIT = 200_000
TOKENS_LIMIT = 32_768


class SamplingFields(StrictSerializer):
    """How an answer is drawn; what is left out keeps the conversation's or the engine's value."""

    temperature = Decimal(min_value=0, max_value=5, required=False)
    top_p = Decimal(min_value=0, max_value=1, required=False)
    max_tokens = Whole(min_value=1, max_value=TOKENS_LIMIT, required=False)
    seed = Whole(min_value=0, max_value=2**32 - 1, required=False)
    stop = serializers.ListField(child=Text(max_length=256), max_length=16, required=False)


def sampling_of(body: dict[str, Any]) -> dict[str, Any]:
    """The sampling parameters among validated fields, as the engine names them."""
    found: dict[str, Any] = {
        name: body[name] for name in ("temperature", "top_p", "max_tokens", "seed") if name in body
    }
    if "stop" in body:
        found["stop"] = tuple(body["stop"])
    return found


class TurnFields(StrictSerializer):
    """One earlier turn that a program brings along."""

    role = serializers.ChoiceField(choices=("user", "assistant"))
    content = Text(max_length=TEXT_LIMIT, trim_whitespace=False)


class ChatRequest(SamplingFields):
    """POST /api/chat."""

    message = Text(max_length=TEXT_LIMIT, required=False, trim_whitespace=False)
    messages = TurnFields(many=True, required=False)
    model = Text(max_length=128, required=False, allow_null=True)
    conversation_id = Identifier(required=False, allow_null=True)
    system = Text(max_length=TEXT_LIMIT, required=False, allow_blank=True, trim_whitespace=False)
    stream = Flag(required=False)
    attachments = serializers.ListField(required=False)
    search = Flag(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.get("attachments") or attrs.get("search"):
            raise ServiceError(
                "Attachments and web search are not built into this version yet.",
                code="service.not_built",
                status=501,
            )
        turns = attrs.get("messages") or []
        if bool(attrs.get("message")) == bool(turns):
            raise serializers.ValidationError("Send either “message” or “messages”.")
        if turns and turns[-1]["role"] != "user":
            raise serializers.ValidationError({"messages": ["The last turn must be the user's."]})
        if turns and attrs.get("conversation_id"):
            raise serializers.ValidationError(
                "“messages” starts a new conversation; leave out “conversation_id”."
            )
        return attrs


class GenerateRequest(SamplingFields):
    """POST /api/generate."""

    prompt = Text(max_length=TEXT_LIMIT, trim_whitespace=False)
    model = Text(max_length=128, required=False, allow_null=True)
    stream = Flag(required=False)


class ConversationChanges(StrictSerializer):
    """PATCH /api/conversations/{id}."""

    title = Text(max_length=200, required=False)
    pinned = Flag(required=False)
    folder = Text(max_length=100, required=False, allow_blank=True)
    system = Text(max_length=TEXT_LIMIT, required=False, allow_blank=True, trim_whitespace=False)
    active_leaf = Identifier(required=False)


class ListQuery(StrictSerializer):
    """GET /api/conversations?…"""

    q = Text(max_length=200, required=False, allow_blank=True)
    folder = Text(max_length=100, required=False)
    before = serializers.DateTimeField(required=False)
    limit = serializers.IntegerField(min_value=1, max_value=200, required=False, default=50)


# --- websocket frames from the browser ---------------------------------------------------------------


class SendFrame(SamplingFields):
    """`{"type": "send", "text", "parent", "model", …}`"""

    type = Text()
    text = Text(max_length=TEXT_LIMIT, trim_whitespace=False)
    parent = Identifier(required=False, allow_null=True)  # type: ignore[assignment]
    model = Text(max_length=128, required=False, allow_null=True, allow_blank=True)


class MessageFrame(StrictSerializer):
    """`{"type": "stop", "message_id"}`"""

    type = Text()
    message_id = Identifier()


class ResumeFrame(MessageFrame):
    """`{"type": "resume", "message_id", "seq"}`"""

    seq = Whole(min_value=-1)


class AgainFrame(SamplingFields):
    """`{"type": "regenerate", "message_id", "model"}`"""

    type = Text()
    message_id = Identifier()
    model = Text(max_length=128, required=False, allow_null=True, allow_blank=True)


class EditFrame(AgainFrame):
    """`{"type": "edit", "message_id", "text"}`"""

    text = Text(max_length=TEXT_LIMIT, trim_whitespace=False)


FRAMES: dict[str, type[StrictSerializer]] = {
    "send": SendFrame, "stop": MessageFrame, "resume": ResumeFrame, "regenerate": AgainFrame, "edit": EditFrame,
}  # fmt: skip
