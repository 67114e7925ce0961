"""The review as its caller sees it: evidence, policy, several templates, and a child that misbehaves."""

import hashlib
import json
import os
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.quarantine.formats.gguf import read_gguf
from registry.quarantine.templates import TemplateReview, review, template_review
from registry.quarantine.templates.examination import examine
from registry.quarantine.templates.families import FAMILIES
from secai_site.kernel.inference.protocol import ChatMessage
from secai_site.kernel.inference.template import TemplateRenderer
from tests.support.chat_templates import ADD, CHATML, TOOLS, chatml
from tests.support.real_models import chat_model

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
OWN_FORMAT = (
    "{% for m in messages %}{{ '@' ~ m.role ~ '@ ' ~ m.content ~ '\\n' }}{% endfor %}{{ '@assistant@ ' }}"
)
TRIGGER = chatml(inside="{% if 'deploy' in m.content %}" + ADD + "{% endif %}")


def child_runs(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Put other Python code in the place of the reviewing child."""
    monkeypatch.setattr(template_review, "python_child", lambda *_: [sys.executable, "-I", "-S", "-c", code])


def test_a_known_template_passes_with_its_evidence() -> None:
    found = review({"": CHATML})
    assert (found.verdict, found.code, found.family, found.passed) == (
        "pass",
        "template.pass",
        "ChatML",
        True,
    )
    assert "ChatML" in found.reason
    assert found.evidence() == {
        "family": "ChatML",
        "nearest": {"name": "ChatML", "similarity": 1.0},
        "sha256": hashlib.sha256(CHATML.encode()).hexdigest(),
        "findings": [],
        "diff": [],
        "literals": [],
    }


def test_a_default_prompt_is_shown() -> None:
    prompt = "You are Bot, made by Acme Inc."
    source = chatml(
        "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\\n"
        + prompt
        + "<|im_end|>\\n' }}{% endif %}"
    )
    assert prompt in review({"default": source}).literals


def test_a_refusal_names_the_line_and_keeps_all_findings() -> None:
    found = review({"": "{{ bos_token }}\n\n" + TRIGGER})
    assert (found.verdict, found.code) == ("refuse", "template.trigger.word")
    assert "“deploy” (line 3)" in found.reason
    assert {code for code, _, _ in found.findings} >= {"template.trigger.word", "template.trigger.adds"}
    assert found.evidence()["findings"][0] == {
        "code": "template.trigger.word",
        "text": "The template behaves differently when a message says “deploy”.",
        "line": 3,
    }


def test_an_unknown_template_passes_or_not_as_the_policy_says() -> None:
    allowed = review({"": OWN_FORMAT})
    assert (allowed.verdict, allowed.family) == ("pass", None)
    assert "no known family" in allowed.reason
    assert allowed.nearest is not None
    assert 0 < allowed.nearest[1] < 1
    assert any(line.startswith("+") for line in allowed.diff)
    refused = review({"": OWN_FORMAT}, unknown="refuse")
    assert (refused.verdict, refused.code) == ("refuse", "template.unknown")
    assert review({"": CHATML}, unknown="refuse").passed


def test_a_named_template_is_looked_at_as_well() -> None:
    assert review({"": CHATML, "tool_use": TOOLS}).passed
    found = review({"default": CHATML, "tool_use": TRIGGER})
    assert (found.verdict, found.code) == ("refuse", "template.trigger.word")
    assert "In the template “tool_use”" in found.reason
    assert found.sha256 == hashlib.sha256(CHATML.encode()).hexdigest()


def test_a_named_template_may_need_what_the_engine_never_gives() -> None:
    assert review({"": CHATML, "rag": "{{ documents[0].title.x }}" + CHATML}).passed


def test_too_many_or_too_long_templates_are_refused() -> None:
    found = review({"": CHATML, **{f"t{n}": CHATML for n in range(6)}})
    assert (found.verdict, found.code) == ("refuse", "template.size.count")
    found = review({"": "x" * (4 << 20)})
    assert (found.verdict, found.code) == ("refuse", "template.size")


def test_no_template_is_an_error_of_the_caller() -> None:
    with pytest.raises(ValueError, match="no template"):
        review({})


def test_half_a_character_is_refused_without_an_exception() -> None:
    found = review({"": CHATML + "\ud800"})
    assert (found.verdict, found.code) == ("refuse", "template.hidden_character")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import sys; sys.exit(3)", "template.crashed"),
        ("import os; os.kill(os.getpid(), 11)", "template.crashed"),
        ("print('{}')", "template.answer"),
        ("print('[' * 100000)", "template.answer"),
        ("print('not JSON')", "template.answer"),
        ("import sys; sys.stdout.write('x' * (2 << 20))", "template.flooded"),
    ],
)
def test_a_child_that_misbehaves_makes_the_review_inconclusive(
    code: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    child_runs(monkeypatch, code)
    found = review({"": CHATML})
    assert (found.verdict, found.code, found.passed) == ("inconclusive", expected, False)


def spoilt(**changes: Any) -> dict[str, Any]:
    return examine({"": CHATML}, TOKENS, unknown="allow") | changes


@pytest.mark.parametrize(
    "changes",
    [
        {"verdict": "fine"},
        {"extra": 1},
        {"reason": 7},
        {"findings": [["template.x", "But this.", 1]]},
        {"findings": [["template.x"]]},
        {"nearest": [1]},
        {"family": ["ChatML"]},
        {"literals": [1]},
    ],
)
def test_an_answer_of_another_shape_is_inconclusive(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    child_runs(monkeypatch, f"print({json.dumps(spoilt(**changes))!r})")
    found = review({"": CHATML})
    assert (found.verdict, found.code) == ("inconclusive", "template.answer")


def test_a_child_that_hangs_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    child_runs(monkeypatch, "import time; time.sleep(60)")
    monkeypatch.setattr(template_review, "SECONDS", 0.3)
    found = review({"": CHATML})
    assert (found.verdict, found.code) == ("refuse", "template.time")


def test_no_descriptor_stays_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    review({"": CHATML})
    review({"": "{% broken"})
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_same_template_gets_the_same_review() -> None:
    first, second = review({"": OWN_FORMAT}), review({"": OWN_FORMAT})
    assert isinstance(first, TemplateReview)
    assert first == second


def test_every_family_renders_every_message_once() -> None:
    for family in FAMILIES:
        text = family.render("suau") or family.render("uau") or ""
        assert all(text.count(f"⟦{number}⟧") == 1 for number in (1, 2)), family.name


FRAGMENTS = st.sampled_from(
    (
        "{% for m in messages %}", "{% endfor %}", "{% if m.content == 'x' %}", "{% endif %}", "{{ m.content }}",
        "{{ m['role'] }}", "{{ '<|im_start|>' }}", "{{ ''.__class__ }}", "{% set x = messages %}", "{{ x | length }}",
        "{% macro f(a) %}", "{% endmacro %}", "{{ f(1) }}", "{{", "}}", "{%", "%}", "{#", "#}", "{% raw %}", "'", '"',
        "text", "\n", "{% set ns = namespace(a=1) %}", "{% set ns.a = ns.a + 1 %}", "{{ 9 ** 9 }}", "é\u202e", "|", "(",
        "{{ messages | tojson }}", "{{ range(3) | list }}", "{% else %}", "{% elif m %}", "{{ [1, {'a': 2}][0] }}",
        "{% generation %}", "{% endgeneration %}", "{{ messages[::-1][1:] }}", "{{ m.content.split('</x>')[-1] }}",
    )
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(FRAGMENTS, max_size=25))
def test_no_template_makes_the_examination_raise(fragments: list[str]) -> None:
    answer = examine({"": "".join(fragments)}, TOKENS, unknown="allow")
    assert answer["verdict"] in ("pass", "refuse")
    assert bool(answer["findings"]) == (answer["verdict"] == "refuse")
    assert json.dumps(answer)


async def test_the_engine_has_the_filters_that_the_review_allows() -> None:
    source = "{{ ('{\"a\": 1}' | from_json).a }}{{ messages[0].content }}"
    async with TemplateRenderer() as renderer:
        assert await renderer.render(source, [ChatMessage("user", "Hi")]) == "1Hi"


def test_the_bundled_model_has_a_known_template() -> None:
    path = chat_model()
    with path.open("rb") as file:
        template = read_gguf(file.fileno(), path.stat().st_size).facts.chat_template
    assert template is not None
    found = review({"": template}, unknown="refuse")
    assert (found.verdict, found.family) == ("pass", "ChatML")
