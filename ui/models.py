"""All tables of this app, for Django to find."""

from ui.chat.models import Conversation, Message

__all__ = ["Conversation", "Message"]
