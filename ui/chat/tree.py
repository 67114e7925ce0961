"""The message tree, pure: which messages lead to a leaf, and what of them the model gets to read."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from secai_site.kernel.inference.protocol import ChatMessage


@dataclass(frozen=True, slots=True)
class Node:
    """What the tree needs of a message."""

    id: UUID
    parent: UUID | None
    role: str
    content: str


def path_to(leaf: UUID, nodes: Iterable[Node]) -> list[Node]:
    """The messages from the root to `leaf`; raises `KeyError` for a leaf that is not among them."""
    by_id = {node.id: node for node in nodes}
    path: list[Node] = []
    current: UUID | None = leaf
    while current is not None and len(path) <= len(by_id):
        node = by_id[current]
        path.append(node)
        current = node.parent
    return path[::-1]


def prompt_of(path: Iterable[Node], system: str) -> tuple[ChatMessage, ...]:
    """What the model reads: the system prompt, then each turn that has text.

    Empty answers (failed or stopped before the first word) are left out, and so is the question before them,
    so that questions and answers keep alternating as templates demand.
    """
    turns: list[ChatMessage] = []
    for node in path:
        if node.role == "assistant" and not node.content:
            if turns and turns[-1].role == "user":
                turns.pop()
            continue
        if turns and turns[-1].role == node.role:
            merged = f"{turns[-1].content}\n\n{node.content}"
            turns[-1] = ChatMessage(node.role, merged)
        else:
            turns.append(ChatMessage(node.role, node.content))
    head = (ChatMessage("system", system),) if system else ()
    return (*head, *turns)


def title_of(text: str) -> str:
    """A conversation's first title: the beginning of the first question, in one line."""
    line = " ".join(text.split())
    if len(line) <= 60:
        return line or "New chat"
    return line[:60].rsplit(" ", 1)[0].rstrip(",.;:") + "…"
