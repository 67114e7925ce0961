# ruff: noqa: RUF001 - people write apostrophes in two ways
"""What a constant text of a template has no business to say."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from registry.quarantine.templates.finding import Finding, quoted


@dataclass(frozen=True, slots=True)
class Suspicion:
    """`what` completes the sentence "the template's own text contains …"."""

    code: str
    what: str
    pattern: re.Pattern[str]


def _suspicion(code: str, what: str, *alternatives: str) -> Suspicion:
    return Suspicion(f"template.text.{code}", what, re.compile("|".join(alternatives), re.IGNORECASE))


SUSPICIONS: Final = (
    _suspicion(
        "link",
        "a link",
        r"\b(?:https?|ftp|wss?|file|data|javascript):\s*/{0,2}\S",
        r"\bwww\.\w",
        r"\b[\w-]{1,63}(?:\.[\w-]{1,63}){0,5}\."
        r"(?:com|net|org|io|ru|cn|xyz|top|info|biz|co|dev|app|site|online|me|tk|onion)(?:/|\b(?![.\w]))",
        r"\b\d{1,3}(?:\.\d{1,3}){3}\b",
    ),
    _suspicion("address", "an e-mail address", r"\b[\w.+-]{1,64}@[\w-]{1,63}\.\w"),
    _suspicion(
        "blob",
        "encoded data",
        r"(?<![A-Za-z0-9+/=_-])(?=[A-Za-z0-9+/_-]*\d)(?=[A-Za-z0-9+/_-]*[A-Z])(?=[A-Za-z0-9+/_-]*[a-z])"
        r"[A-Za-z0-9+/_-]{32,}={0,2}",
        r"\b[0-9a-f]{32,}\b",
        r"(?:\\x[0-9a-f]{2}){4}",
        r"base ?64",
    ),
    _suspicion(
        "command",
        "a command for a computer",
        r"\b(?:curl|wget|nc|ncat|scp|rm|chmod|sudo)\s+[-/~.\w]*[-/~]",
        r"\b(?:powershell|cmd\.exe|/bin/(?:ba)?sh|os\.system|subprocess|eval\(|exec\()",
        r"\|\s*(?:ba)?sh\b",
        r"<script\b",
        r"!\[[^\]]*\]\(",
    ),
    _suspicion(
        "secrecy",
        "an order to keep something from the user",
        r"\b(?:do not|don['’]?t|never|must not|without)\s+(?:ever\s+)?(?:tell|telling|reveal|revealing|mention|"
        r"mentioning|disclose|disclosing|inform|informing|show|admit|let)\b[^.\n]{0,60}\b(?:user|users|human|"
        r"anyone|anybody|them|prompt|instructions?|message|this|it)\b",
        r"\b(?:secretly|covertly|in secret|keep (?:this|it) (?:a )?secret|hidden (?:instruction|message|rule)s?|"
        r"unnoticed)\b",
    ),
    _suspicion(
        "override",
        "an order to disregard what others say",
        r"\b(?:ignore|disregard|forget|override|bypass)\s+(?:\w+\s+){0,4}(?:previous|prior|above|earlier|user|users|"
        r"system|safety|all)\b(?:\W+\w+){0,3}\W+(?:instruction|message|rule|prompt|guideline|request|wishe)s?\b",
        r"\b(?:no matter|regardless of) what the user\b",
        r"\byou are now (?:in )?(?:dan|developer mode)\b",
    ),
    _suspicion(
        "theft",
        "an order to send what users say elsewhere",
        r"\b(?:send|forward|transmit|upload|exfiltrate|leak|post)\s+(?:\w+\s+){0,5}(?:conversation|passwords?|"
        r"credentials?|secrets?|keys?|history|user data|data of the user|everything)\b",
    ),
    _suspicion(
        "selling",
        "an order to promote something",
        r"\b(?:always|whenever)\s+(?:recommend|promote|advertise|endorse|praise|link)\b",
    ),
)
# What instructions about tools say for good reasons.
ORDINARY: Final = re.compile(r"\bdo not tell the user about function calls\b", re.IGNORECASE)


def suspicious(text: str, line: int = 0) -> Iterator[Finding]:
    """What is wrong with a constant text, whichever conversation it appears in."""
    text = ORDINARY.sub(" ", text)
    for suspicion in SUSPICIONS:
        found = suspicion.pattern.search(text)
        if found is not None:
            shown = quoted(text[max(0, found.start() - 15) : found.end() + 15])
            yield Finding(
                suspicion.code, f"The template's own text contains {suspicion.what}: {shown}.", line
            )
