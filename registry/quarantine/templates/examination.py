"""The whole look at a model's templates, as it happens inside the confined child."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from jinja2 import nodes
from jinja2.exceptions import TemplateSyntaxError

from registry.quarantine.plain import plain
from registry.quarantine.templates.canaries import Canaries
from registry.quarantine.templates.characters import check_source
from registry.quarantine.templates.finding import Finding, quoted
from registry.quarantine.templates.flows import Flows
from registry.quarantine.templates.grammar import check_grammar
from registry.quarantine.templates.insertions import (
    MAX_LITERAL,
    check_constants,
    check_own_text,
    literals,
    prose,
)
from registry.quarantine.templates.likeness import Likeness, compare
from registry.quarantine.templates.rendering import CanaryRenderer, TemplateFault
from registry.quarantine.templates.suspicious import suspicious
from registry.quarantine.templates.triggers import check_triggers
from registry.quarantine.templates.triggers import literals as compared_literals
from secai_site.kernel.inference.template_process import environment

MAX_FINDINGS: Final = 20
MAX_TEMPLATES: Final = 6  # published models have up to three
# What keeps a template from working at all does no harm in one that the engine never uses.
HARMLESS_UNUSED: Final = frozenset({"template.refuses", "template.error"})

Answer = dict[str, Any]


class Examination:
    """One template: what speaks against it, what it renders like, which texts it adds."""

    def __init__(self, source: str, tokens: Mapping[str, str]) -> None:
        self._source = source
        self._tokens = tokens
        self.sha256 = hashlib.sha256(source.encode(errors="surrogatepass")).hexdigest()
        self.likeness = Likeness(None, None, 0.0, ())
        self.literals: list[str] = []
        self.findings = list(dict.fromkeys(self._find()))

    def _find(self) -> Iterator[Finding]:
        """Read it; only when everything in it is allowed, try it."""
        blocking = list(check_source(self._source))
        tree = self._parsed() if not blocking else None
        if isinstance(tree, nodes.Template):
            blocking = list(check_grammar(tree))
        elif tree is not None:
            blocking = [tree]
        yield from blocking
        if not blocking and isinstance(tree, nodes.Template):
            yield from self._examine(tree)

    def _parsed(self) -> nodes.Template | Finding:
        try:
            return environment().parse(self._source)  # type: ignore[no-any-return]
        except TemplateSyntaxError as error:
            sentence = f"The template is not well-formed: {quoted(error.message or '', 200)}."
            return Finding("template.syntax", sentence, error.lineno)
        except RecursionError:
            return Finding("template.depth", "The template is nested too deeply.")
        except ValueError as error:  # a number with thousands of digits
            return Finding("template.number", f"The template is not well-formed: {quoted(str(error), 200)}.")

    def _examine(self, tree: nodes.Template) -> Iterator[Finding]:
        flows = Flows(tree)
        yield from check_triggers(tree, flows)
        yield from check_constants(tree)
        try:
            canaries = Canaries(CanaryRenderer(self._source, self._tokens), self.sha256)
        except TemplateFault as fault:
            yield fault.finding
            return
        yield from canaries.try_all(*compared_literals(tree, flows))
        seen = canaries.observed
        if seen.broken:
            return
        yield from check_own_text(seen.masked, seen.dates)
        yield from _try_tools(canaries)
        self.likeness = compare(seen.masked, seen.dates, refuses_system=seen.refuses_system)
        self.literals = literals(tree, dict.fromkeys(prose(text) for text in seen.masked.values()))


def _try_tools(canaries: Canaries) -> Iterator[Finding]:
    """With a tool on offer instructions are ordinary; what they say must still be harmless."""
    try:
        yield from suspicious(canaries.text_about_tools())
    except TemplateFault as fault:
        if fault.finding.code not in HARMLESS_UNUSED:
            yield fault.finding


def examine(templates: Mapping[str, str], tokens: Mapping[str, str], *, unknown: str) -> Answer:
    """The answer about all templates of a model, as plain JSON; see `template_review.TemplateReview`."""
    default = next(name for name in ("", "default", *templates) if name in templates)
    if len(templates) > MAX_TEMPLATES:
        found = Finding(
            "template.size.count", f"The model has {len(templates)} chat templates; no ordinary one has."
        )
        return _answer([found], None)
    main = Examination(templates[default], tokens)
    findings = list(main.findings)
    for name in templates:
        if name != default:
            findings += _named(name, Examination(templates[name], tokens).findings)
    if not findings and main.likeness.family is None and unknown == "refuse":
        findings.append(
            Finding(
                "template.unknown",
                "The template is of no known family of models, and this box's policy admits only known ones.",
            )
        )
    return _answer(findings, main)


def _named(name: str, findings: list[Finding]) -> Iterator[Finding]:
    for finding in findings:
        if finding.code not in HARMLESS_UNUSED:
            yield Finding(finding.code, f"In the template {quoted(name, 40)}: {finding.text}", finding.line)


def _answer(findings: list[Finding], main: Examination | None) -> Answer:
    likeness = main.likeness if main is not None else Likeness(None, None, 0.0, ())
    first = findings[0] if findings else None
    return {
        "verdict": "refuse" if first else "pass",
        "reason": _refusal(first) if first else _praise(likeness),
        "code": first.code if first else "template.pass",
        "family": likeness.family,
        "nearest": [likeness.nearest, likeness.similarity] if likeness.nearest else None,
        "findings": [[f.code, f.text, f.line] for f in findings[:MAX_FINDINGS]],
        "diff": [plain(line, 200) for line in likeness.diff],
        "literals": [plain(text, MAX_LITERAL) for text in (main.literals if main else ())],
    }


def _refusal(finding: Finding) -> str:
    where = f" (line {finding.line})" if finding.line else ""
    return f"Its chat template is refused. {finding.text.removesuffix('.')}{where}."


def _praise(likeness: Likeness) -> str:
    carries = "it carries every message faithfully and does not react to what is said"
    if likeness.family is not None:
        return f"Its chat template is that of the family {likeness.family}; {carries}."
    return f"Its chat template is of no known family, but {carries}."
