"""All tables of this app, for Django to find."""

from ui.catalog.models import Download, MeasuredLoad
from ui.chat.models import Conversation, Message

__all__ = ["Conversation", "Download", "MeasuredLoad", "Message"]
