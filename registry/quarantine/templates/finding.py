"""What speaks against a template."""

from dataclasses import dataclass

from registry.quarantine.plain import plain

MAX_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Finding:
    """`code` is `template.what[.how]`, `text` a sentence for the model's owner, `line` from 1 (0: no one line)."""

    code: str
    text: str
    line: int = 0


def quoted(text: str, limit: int = MAX_SHOWN) -> str:
    """Text of the template, fit to stand inside a sentence."""
    return f"“{plain(' '.join(text.split()) or text, limit)}”"
