"""Reading conversations: rows as the JSON of the API."""

from datetime import UTC, datetime
from typing import Any

from secai_site.kernel.auth.models import User
from ui.chat.models import Conversation, Message


def moment(value: datetime) -> str:
    """RFC 3339 in UTC."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def message_json(message: Message) -> dict[str, Any]:
    """The public form of a message."""
    return {
        "id": str(message.pk), "parent": str(message.parent_id) if message.parent_id else None,
        "role": message.role, "content": message.content, "state": message.state,
        "finish_reason": message.finish_reason or None, "error": message.error or None,
        "error_code": message.error_code or None, "model": message.model or None, "usage": message.usage,
        "timings": message.timings, "created_at": moment(message.created_at),
    }  # fmt: skip


def conversation_json(conversation: Conversation) -> dict[str, Any]:
    """The public form of a conversation in a list."""
    return {
        "id": str(conversation.pk), "title": conversation.title, "model": conversation.model or None,
        "pinned": conversation.pinned, "folder": conversation.folder or None,
        "updated_at": moment(conversation.updated_at), "created_at": moment(conversation.created_at),
    }  # fmt: skip


def conversation_with_messages(conversation: Conversation) -> dict[str, Any]:
    """A conversation and its whole tree."""
    return {
        **conversation_json(conversation),
        "system": conversation.system,
        "parameters": conversation.parameters,
        "active_leaf": str(conversation.active_leaf) if conversation.active_leaf else None,
        "messages": [message_json(message) for message in conversation.messages.all()],
    }


def conversations_of(
    owner: User,
    *,
    query: str = "",
    folder: str | None = None,
    before: datetime | None = None,
    limit: int = 50,
) -> tuple[list[Conversation], bool]:
    """A page of the person's conversations, newest first, and whether there are more."""
    rows = Conversation.objects.filter(owner=owner, deleted_at=None)
    if query:
        hits = Message.objects.filter(conversation__owner=owner, content__icontains=query)
        rows = rows.filter(title__icontains=query) | rows.filter(pk__in=hits.values("conversation_id"))
    if folder is not None:
        rows = rows.filter(folder=folder)
    if before is not None:
        rows = rows.filter(updated_at__lt=before)
    page = list(rows.order_by("-updated_at")[: limit + 1])
    return page[:limit], len(page) > limit


def as_markdown(conversation: Conversation) -> str:
    """The conversation as it was last looked at, for reading elsewhere."""
    from ui.chat.generation import nodes_of
    from ui.chat.tree import path_to

    lines = [f"# {conversation.title}", ""]
    if conversation.active_leaf:
        for node in path_to(conversation.active_leaf, nodes_of(conversation)):
            lines += [f"## {'You' if node.role == 'user' else 'Model'}", "", node.content, ""]
    return "\n".join(lines)
