"""Asking, from either door: checks and rows first, then the engine's request. Blocking; no engine call."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from secai_site.kernel.auth.principal import Principal
from secai_site.kernel.errors import NotAllowed, ServiceError
from secai_site.kernel.inference.protocol import GenerationRequest
from ui.chat import services
from ui.chat.generation import choose_model, request_of
from ui.chat.models import Conversation, MessageState
from ui.chat.serializers import sampling_of


@dataclass(frozen=True, slots=True)
class Prepared:
    """A turn that is written down and ready for the engine."""

    turn: services.Turn
    request: GenerationRequest


def ask(caller: Principal, body: dict[str, Any], *, conversation_id: UUID | str | None) -> Prepared:
    """A question, in a conversation or a new one. `body` holds validated fields."""
    owner = _owner(caller)
    conversation = services.own_conversation(owner, conversation_id) if conversation_id else None
    model = choose_model(body.get("model") or (conversation.model if conversation else ""))
    parent = body.get("parent", conversation.active_leaf if conversation else None)
    if conversation is None:
        conversation = services.start_conversation(
            owner=owner, first=body["text"], model=model["name"], system=body.get("system", ""),
            parameters=sampling_of(body), actor=caller.name,
        )  # fmt: skip
        parent = services.add_history(conversation=conversation, turns=body.get("history", []))
    elif "system" in body and body["system"] != conversation.system:
        services.change_conversation(
            conversation=conversation, changes={"system": body["system"]}, actor=caller.name
        )
    turn = services.ask(
        conversation=conversation, text=body["text"], parent=parent, model=model["name"], actor=caller.name
    )
    return Prepared(turn, _request(turn, model, body))


def again(caller: Principal, body: dict[str, Any]) -> Prepared:
    """Another answer beside one that exists."""
    answer = services.own_message(_owner(caller), body["message_id"])
    model = choose_model(body.get("model") or answer.model)
    turn = services.ask_again(answer=answer, model=model["name"], actor=caller.name)
    return Prepared(turn, _request(turn, model, body))


def edit(caller: Principal, body: dict[str, Any]) -> Prepared:
    """A question asked differently."""
    question = services.own_message(_owner(caller), body["message_id"])
    model = choose_model(body.get("model") or question.conversation.model)
    turn = services.edit_question(
        question=question, text=body["text"], model=model["name"], actor=caller.name
    )
    return Prepared(turn, _request(turn, model, body))


def _owner(caller: Principal) -> Any:
    if caller.user is None:
        raise NotAllowed(
            "A conversation belongs to a person; this caller acts for none.", code="chat.no_owner"
        )
    return caller.user


def _request(turn: services.Turn, model: Any, body: dict[str, Any]) -> GenerationRequest:
    parameters = _stored(turn.conversation) | sampling_of(body)
    try:
        return request_of(turn, model, parameters)
    except ServiceError as error:
        services.finish_answer(
            turn.answer.pk, MessageState.FAILED, "", error=error.message[:500], error_code=error.error_code
        )
        raise


def _stored(conversation: Conversation) -> dict[str, Any]:
    stored = dict(conversation.parameters)
    if "stop" in stored:
        stored["stop"] = tuple(stored["stop"])
    return stored
