"""A rendering without the messages: the text that is the template's own."""

from collections.abc import Sequence
from typing import Final

from registry.quarantine.templates.conversations import Message, contents
from registry.quarantine.templates.finding import Finding
from registry.quarantine.templates.rendering import Rendering

PLACE: Final = "⟦{}⟧"


def mask(text: str, messages: Sequence[Message]) -> str | Finding:
    """`text` with every message replaced by its number, or what is wrong with how the messages appear in it."""
    position = 0
    for number, (message, content) in enumerate(zip(messages, contents(messages), strict=True)):
        times = text.count(content)
        if times == 0:
            return _dropped(message)
        if times > 1:
            return Finding("template.repeats", f"The template repeats what {_speaker(message)} says.")
        at = text.find(content)
        if message["role"] != "system":
            if at < position:
                return Finding("template.reorders", "The template changes the order of the messages.")
            position = at
        text = text.replace(content, PLACE.format(number if message["role"] != "system" else "s"))
    return text


def _dropped(message: Message) -> Finding:
    return Finding("template.drops", f"The template leaves out what {_speaker(message)} says.")


def _speaker(message: Message) -> str:
    return {"system": "the system message", "user": "the user"}.get(message["role"], "the assistant")


SYSTEM_DROPPED: Final = _dropped({"role": "system"})


def unsaid(text: str, messages: Sequence[Message]) -> str:
    """`text` without what the messages say, wherever and however often that stands in it."""
    for content in contents(messages):
        text = text.replace(content, PLACE.format("")) if content.strip() else text
    return text


def dateless(rendering: Rendering) -> str:
    """The rendering with the dates that it asked for masked."""
    text = rendering.text
    for date in sorted(set(rendering.dates), key=len, reverse=True):
        text = text.replace(date, "⟨date⟩") if date.strip() else text
    return text
