# ruff: noqa: RUF001 - people write apostrophes in two ways
"""Text of the template's own: what it says besides the conversation and its markup."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from jinja2 import nodes

from registry.quarantine.templates.conversations import Shape
from registry.quarantine.templates.families import KNOWN_TEXTS
from registry.quarantine.templates.finding import Finding, quoted
from registry.quarantine.templates.suspicious import suspicious
from registry.quarantine.templates.vocabulary import WORD, own_words, without_markers

MAX_DEFAULT: Final = 400  # characters of a default system prompt; the published short ones take 30 to 300
MAX_LITERALS: Final = 20
MAX_LITERAL: Final = 400
PROSE_WORDS: Final = 2  # that are no markup, on one line

# Lines that state a fact about the session rather than say something: "Knowledge cutoff: June 2025".
VALUE: Final = (
    r"(?:[\d⟨/][\w⟩:,/-]*|(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}|low|medium|high|max|none|on|off"
    r"|enabled|disabled|no_think|think),?"
)
METADATA: Final = re.compile(
    r"(?:(?:cutting )?knowledge (?:cut-?off )?(?:date|cut-?off)?|(?:today(?:['’]s)?|current) (?:date|day)|date"
    r"|reasoning(?:[ _]effort| mode| strength)?|thinking(?: effort| mode)?|deliberation|tool capabilities)"
    rf"\s*(?::|is)(?:\s*{VALUE}){{0,3}}\.?|detailed thinking (?:on|off)",
    re.IGNORECASE,
)
PLACE: Final = re.compile("⟦[^⟧]*⟧")


def check_constants(tree: nodes.Template) -> Iterator[Finding]:
    """Every text that stands in the template, whether or not our conversations make it appear."""
    for node in tree.find_all((nodes.Const, nodes.TemplateData, nodes.Output, nodes.Concat, nodes.Add)):
        text = constant_text(node)
        if len(text) > 3 and digest(prose(text)) not in KNOWN_TEXTS:
            yield from suspicious(text, node.lineno)


def constant_text(node: nodes.Node) -> str:
    """What of `node` is constant, with pieces that stand side by side put together; "" for other nodes."""
    if isinstance(node, nodes.TemplateData):
        return str(node.data)
    if isinstance(node, nodes.Const):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, nodes.Add):
        return constant_text(node.left) + constant_text(node.right)
    if isinstance(node, nodes.Output | nodes.Concat):
        return "".join(map(constant_text, node.nodes))
    return ""


def prose(masked: str, dates: Iterable[str] = ()) -> str:
    """The sentences in a rendering whose messages are masked; "" where there is nothing but markup.

    Blanks are folded and dates masked, so that the same text has the same digest every day.
    """
    text = masked
    for date in sorted(set(dates), key=len, reverse=True):
        text = text.replace(date, "⟨date⟩") if date.strip() else text
    text = without_markers(PLACE.sub("\n", text), "\n")
    lines = (" ".join(line.split()) for line in text.splitlines())
    return "\n".join(line for line in lines if _says_something(line))


def _says_something(line: str) -> bool:
    return len(own_words(line)) >= PROSE_WORDS and not METADATA.fullmatch(line.strip(" *-"))


def check_own_text(masked: Mapping[Shape, str], dates: Iterable[str]) -> Iterator[Finding]:
    """A short default prompt where no system message is given, and otherwise only what known families say."""
    known = tuple(dates)
    for shape, text in masked.items():
        own = prose(text, known)
        if digest(own) in KNOWN_TEXTS:
            continue
        yield from suspicious(PLACE.sub("⟦⟧", text))
        if not own:
            continue
        if shape.startswith("s"):
            yield _besides("although there is a system message", own)
        elif prose(text.partition("⟦0⟧")[2], known):
            yield _besides("between or behind the messages", own)
        elif len(own) > MAX_DEFAULT:
            yield _besides(f"of {len(own):,} characters before the first message", own)


def _besides(where: str, own: str) -> Finding:
    return Finding(
        "template.text.own", f"The template adds sentences of its own {where}: {quoted(own, 200)}."
    )


def digest(text: str) -> str:
    """Thirty-two hex digits by which a known text is recognized."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def literals(tree: nodes.Template, rendered: Iterable[str]) -> list[str]:
    """Texts of the template's own to show its owner: first those that appeared, then those that may."""
    constants = (constant_text(node) for node in tree.find_all((nodes.Const, nodes.TemplateData)))
    texts = [*rendered, *(text for text in constants if len(WORD.findall(text)) >= 4)]
    distinct = dict.fromkeys(" ".join(text.split())[:MAX_LITERAL] for text in texts if text.strip())
    return list(distinct)[:MAX_LITERALS]
