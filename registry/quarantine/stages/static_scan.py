"""Stage 5: what can be seen without running it: the chat template as code, and every tensor's digest."""

import asyncio
import hashlib
from typing import Any

from registry.quarantine.inspect import Inspection
from registry.quarantine.stages.base import StageVerdict, Subject, not_applicable, passed, refused
from secai_site.kernel.inference.protocol import ChatMessage
from secai_site.kernel.inference.template import TemplateRenderer, TemplateRenderError

# Two harmless conversations: what a template makes of them shows whether it works and stays within limits.
CANARIES = (
    (ChatMessage("user", "canary-question-1"),),
    (
        ChatMessage("user", "canary-question-1"),
        ChatMessage("assistant", "canary-answer-1"),
        ChatMessage("user", "canary-question-2"),
    ),
)


class StaticScan:
    """Renders the chat template on canary conversations in its sandbox, and takes over the tensor manifest."""

    name = "static_scan"
    version = "1"

    def examine(self, subject: Subject) -> StageVerdict:
        inspection = subject.inspection
        if inspection is None or inspection.format != "gguf":
            return not_applicable("Only GGUF files carry a template.", merkle_root=_root(inspection))
        evidence: dict[str, Any] = {
            "fingerprint": inspection.fingerprint, "merkle_root": _root(inspection), "chat": False,
        }  # fmt: skip
        template = inspection.facts.get("chat_template")
        if not template:
            return passed("It has no chat template: it completes texts, it does not chat.", **evidence)
        evidence["template_sha256"] = hashlib.sha256(template.encode()).hexdigest()
        try:
            rendered = asyncio.run(_render(template))
        except TemplateRenderError as error:
            return refused(f"Its chat template is not sound: {error.message}", kind=error.kind, **evidence)
        return _judge(rendered, evidence)


async def _render(template: str) -> list[str]:
    async with TemplateRenderer() as renderer:
        return [
            await renderer.render(template, messages, bos_token="<s>", eos_token="</s>")  # noqa: S106
            for messages in CANARIES
        ]


def _judge(rendered: list[str], evidence: dict[str, Any]) -> StageVerdict:
    """A sound template carries every word of the conversation, in order."""
    for text, messages in zip(rendered, CANARIES, strict=True):
        position = 0
        for message in messages:
            position = text.find(message.content, position)
            if position < 0:
                return refused("Its chat template drops or reorders what was said.", **evidence)
    return passed(
        "Its chat template renders conversations faithfully within its limits; every tensor has its digest.",
        **{**evidence, "chat": True},
    )


def _root(inspection: Inspection | None) -> str | None:
    return inspection.manifest.root if inspection is not None and inspection.manifest is not None else None
