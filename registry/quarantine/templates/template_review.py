"""Look at a model's chat templates as what they are: programs from a stranger that put words into its mouth.

All reading and running happens in a confined child; what it answers is no more than a claim by a process that has met
a hostile template: size-capped, strictly parsed, and anything odd is `inconclusive`.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from registry.quarantine.child import Outcome, python_child, run_child

Verdict = Literal["pass", "refuse", "inconclusive"]

CHILD: Final = "registry.quarantine.templates.review_process"
SECONDS: Final = 20.0  # of wall clock, on a very busy machine; an ordinary review takes 0.3 to 1.5 s
MAX_ANSWER: Final = 1 << 20
MAX_REQUEST: Final = 3 << 20
FIELDS: Final = {"verdict", "reason", "code", "family", "nearest", "findings", "diff", "literals"}


@dataclass(frozen=True, slots=True)
class TemplateReview:
    """What the review came to. Only `verdict == "pass"` is a pass; `inconclusive` is a refusal too.

    `reason`: a sentence; `code`: stable, `template.what[.how]`; `sha256`: of the default template, in UTF-8; `family`:
    the known family that it renders like, or None; `nearest`: the most similar family and how similar it is (0 to 1);
    `findings`: (code, sentence, line from 1, 0 for no one line), the first being the reason; `diff`: a unified diff of
    a rendered conversation against the nearest family's; `literals`: texts of its own that the template adds.
    """

    verdict: Verdict
    reason: str
    code: str
    sha256: str
    family: str | None = None
    nearest: tuple[str, float] | None = None
    findings: tuple[tuple[str, str, int], ...] = ()
    diff: tuple[str, ...] = ()
    literals: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the model may go on to the next stage."""
        return self.verdict == "pass"

    def evidence(self) -> dict[str, Any]:
        """What the model's page shows, as plain JSON: `{family, nearest: {name, similarity} | None, sha256, findings:
        [{code, text, line}], diff: [line], literals: [text]}`."""
        nearest = dict(zip(("name", "similarity"), self.nearest, strict=True)) if self.nearest else None
        return {
            "family": self.family,
            "nearest": nearest,
            "sha256": self.sha256,
            "findings": [{"code": code, "text": text, "line": line} for code, text, line in self.findings],
            "diff": list(self.diff),
            "literals": list(self.literals),
        }


def review(
    templates: Mapping[str, str],
    *,
    bos_token: str = "<s>",  # noqa: S107 - how texts begin and end, not a secret
    eos_token: str = "</s>",  # noqa: S107
    unknown: Literal["allow", "refuse"] = "allow",
) -> TemplateReview:
    """Review all templates of a model: the default one under "" or "default", and named ones.

    `unknown`: whether a default template that renders like no known family may pass. Raises `ValueError` without any
    template; what is in the templates never makes it raise.
    """
    if not templates:
        raise ValueError("there is no template to review")
    default = next(templates[name] for name in ("", "default", *templates) if name in templates)
    sha256 = hashlib.sha256(default.encode(errors="surrogatepass")).hexdigest()
    tokens = {"bos_token": bos_token, "eos_token": eos_token}
    request = json.dumps({"templates": dict(templates), "tokens": tokens, "unknown": unknown}).encode()
    if len(request) > MAX_REQUEST:
        sentence = f"Its chat templates are far too long ({len(request):,} bytes)."
        return TemplateReview(
            "refuse", sentence, "template.size", sha256, findings=(("template.size", sentence, 0),)
        )
    return _understood(_ask(request), sha256)


def _ask(request: bytes) -> Outcome:
    """Give the request to the child as a file in memory, which it can read at its leisure."""
    file = os.memfd_create("templates")
    try:
        os.write(file, request)
        os.lseek(file, 0, os.SEEK_SET)
        return run_child(python_child(CHILD), stdin=file, seconds=SECONDS, most=MAX_ANSWER)
    finally:
        os.close(file)


def _understood(outcome: Outcome, sha256: str) -> TemplateReview:
    if outcome.end == "late":
        sentence = "Its chat template takes too long and was stopped."
        return TemplateReview(
            "refuse", sentence, "template.time", sha256, findings=(("template.time", sentence, 0),)
        )
    if outcome.end != "well":
        return TemplateReview(
            "inconclusive", "Looking at its chat template broke off.", f"template.{outcome.end}", sha256
        )
    try:
        return _parsed(json.loads(outcome.output), sha256)
    except (ValueError, TypeError, RecursionError):
        return TemplateReview(
            "inconclusive", "Looking at its chat template gave no sensible answer.", "template.answer", sha256
        )


def _parsed(data: object, sha256: str) -> TemplateReview:
    """The child's answer, if it is exactly of the agreed shape; raises `ValueError` or `TypeError`."""
    if not isinstance(data, dict) or set(data) != FIELDS:
        raise ValueError("fields")
    if data["verdict"] not in ("pass", "refuse", "inconclusive") or (
        data["verdict"] == "pass" and data["findings"]
    ):
        raise ValueError("verdict")
    name = data["family"]
    nearest = data["nearest"]
    return TemplateReview(
        verdict=data["verdict"],
        reason=_text(data["reason"]),
        code=_text(data["code"]),
        sha256=sha256,
        family=None if name is None else _text(name),
        nearest=None if nearest is None else (_text(nearest[0]), float(nearest[1])),
        findings=tuple((_text(code), _text(text), int(line)) for code, text, line in data["findings"]),
        diff=tuple(map(_text, data["diff"])),
        literals=tuple(map(_text, data["literals"])),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value
