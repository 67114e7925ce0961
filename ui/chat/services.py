"""Changing conversations. Each function is one transaction with its audit event."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from secai_site.kernel.audit.log import record
from secai_site.kernel.auth.models import User
from secai_site.kernel.errors import Conflict, InvalidRequest, NotFound
from ui.chat.models import RUNNING, Conversation, Message, MessageState
from ui.chat.tree import title_of

TRASH_LIFE = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and the answer that is to be generated for it; `question` is None when it existed before."""

    conversation: Conversation
    question: Message | None
    answer: Message


def own_conversation(owner: User, pk: UUID | str, *, deleted: bool = False) -> Conversation:
    """The person's conversation; raises `NotFound` for strangers."""
    found = Conversation.objects.filter(owner=owner, pk=pk, deleted_at__isnull=not deleted).first()
    if found is None:
        raise NotFound("There is no such conversation.", code="chat.not_found")
    return found


def own_message(owner: User, pk: UUID | str) -> Message:
    """A message in one of the person's conversations; raises `NotFound` for strangers."""
    message = (
        Message.objects.select_related("conversation")
        .filter(pk=pk, conversation__owner=owner, conversation__deleted_at=None)
        .first()
    )
    if message is None:
        raise NotFound("There is no such message.", code="chat.not_found")
    return message


@transaction.atomic(durable=True)
def start_conversation(
    *, owner: User, first: str, model: str, system: str, parameters: Mapping[str, Any], actor: str
) -> Conversation:
    """Make an empty conversation titled after its first question."""
    conversation = Conversation.objects.create(
        owner=owner, title=title_of(first), model=model, system=system, parameters=dict(parameters)
    )
    record("chat.conversation:started", actor=actor, target=f"conversation:{conversation.pk}")
    return conversation


@transaction.atomic(durable=True)
def ask(*, conversation: Conversation, text: str, parent: UUID | None, model: str, actor: str) -> Turn:
    """Add a question below `parent` (None: at the root) and the empty answer to it."""
    above = _answered(conversation, parent)
    question = Message.objects.create(conversation=conversation, parent=above, role="user", content=text)
    return Turn(conversation, question, _answer(conversation, question, model, actor))


@transaction.atomic(durable=True)
def add_history(*, conversation: Conversation, turns: list[Mapping[str, str]]) -> UUID | None:
    """Add earlier turns of a conversation that a program brings along; returns the last one's id."""
    above: Message | None = None
    for turn in turns:
        above = Message.objects.create(
            conversation=conversation, parent=above, role=turn["role"], content=turn["content"]
        )
    return above.pk if above else None


@transaction.atomic(durable=True)
def ask_again(*, answer: Message, model: str, actor: str) -> Turn:
    """Add another answer beside `answer`."""
    if answer.role != "assistant" or answer.parent is None:
        raise InvalidRequest("Only an answer can be generated again.", code="chat.not_an_answer")
    if answer.is_running:
        raise Conflict("This answer is still being written. Stop it first.", code="chat.busy")
    return Turn(answer.conversation, None, _answer(answer.conversation, answer.parent, model, actor))


@transaction.atomic(durable=True)
def edit_question(*, question: Message, text: str, model: str, actor: str) -> Turn:
    """Ask differently: a new question beside the old one, which stays with all that follows it."""
    if question.role != "user":
        raise InvalidRequest("Only a question can be edited.", code="chat.not_a_question")
    edited = Message.objects.create(
        conversation=question.conversation, parent=question.parent, role="user", content=text
    )
    return Turn(question.conversation, edited, _answer(question.conversation, edited, model, actor))


def _answered(conversation: Conversation, parent: UUID | None) -> Message | None:
    if parent is None:
        return None
    above = conversation.messages.filter(pk=parent).first()
    if above is None:
        raise NotFound("The message to answer to is not in this conversation.", code="chat.parent")
    if above.is_running:
        raise Conflict("The answer before this is still being written. Wait, or stop it.", code="chat.busy")
    return above


def _answer(conversation: Conversation, question: Message, model: str, actor: str) -> Message:
    answer = Message.objects.create(
        conversation=conversation,
        parent=question,
        role="assistant",
        state=MessageState.QUEUED.value,
        model=model,
    )
    Conversation.objects.filter(pk=conversation.pk).update(
        active_leaf=answer.pk, updated_at=timezone.now(), model=model
    )
    conversation.active_leaf, conversation.model = answer.pk, model
    record(
        "chat.message:asked", actor=actor, target=f"conversation:{conversation.pk}",
        detail={"message": str(answer.pk), "model": model},
    )  # fmt: skip
    return answer


# --- what the engine delivers ------------------------------------------------------------------------


def keep_progress(pk: UUID, content: str) -> None:
    """Keep what has arrived of a running answer."""
    Message.objects.filter(pk=pk, state__in=RUNNING).update(content=content, state=MessageState.WRITING.value)


def finish_answer(pk: UUID, state: MessageState, content: str, **fields: Any) -> bool:
    """End a running answer once; False if it has ended already."""
    ended = Message.objects.filter(pk=pk, state__in=RUNNING).update(
        state=state.value, content=content, **fields
    )
    return ended == 1


# --- keeping order -----------------------------------------------------------------------------------


@transaction.atomic(durable=True)
def change_conversation(
    *, conversation: Conversation, changes: Mapping[str, Any], actor: str
) -> Conversation:
    """Rename, pin, file, or set the system prompt or the active leaf."""
    leaf = changes.get("active_leaf")
    if leaf is not None and not conversation.messages.filter(pk=leaf).exists():
        raise NotFound("This message is not in this conversation.", code="chat.not_found")
    for name, value in changes.items():
        setattr(conversation, name, value)
    conversation.save(update_fields=[*changes])
    if set(changes) - {"active_leaf"}:
        record(
            "chat.conversation:changed", actor=actor, target=f"conversation:{conversation.pk}",
            detail={"fields": sorted(changes)},
        )  # fmt: skip
    return conversation


@transaction.atomic(durable=True)
def delete_conversation(*, conversation: Conversation, actor: str) -> None:
    """Put a conversation into the trash, where it stays restorable for 30 days."""
    conversation.deleted_at = timezone.now()
    conversation.save(update_fields=["deleted_at"])
    record("chat.conversation:deleted", actor=actor, target=f"conversation:{conversation.pk}")


@transaction.atomic(durable=True)
def restore_conversation(*, conversation: Conversation, actor: str) -> None:
    """Take a conversation out of the trash."""
    conversation.deleted_at = None
    conversation.save(update_fields=["deleted_at"])
    record("chat.conversation:restored", actor=actor, target=f"conversation:{conversation.pk}")


@transaction.atomic
def purge_trash() -> int:
    """Delete for good what has been in the trash long enough; returns how many conversations."""
    old = Conversation.objects.filter(deleted_at__lt=timezone.now() - TRASH_LIFE)
    count = old.count()
    if count:
        old.delete()
        record("chat.conversation:purged", actor="service:jobs", target="trash", detail={"count": count})
    return count
