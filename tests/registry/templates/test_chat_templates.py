"""Each hostile chat template is refused for the right reason, each ordinary one passes; all through the real child."""

import time

import pytest

from registry.quarantine.templates import TemplateReview, review
from tests.support.chat_templates import TemplateCase, benign, hostile

HOSTILE = list(hostile())
BENIGN = list(benign())
# Generous: on a machine of its own each takes less than two seconds.
SECONDS = 15.0


def name_of(case: TemplateCase) -> str:
    return case.name


def reviewed(case: TemplateCase) -> TemplateReview:
    start = time.monotonic()
    found = review({"": case.source})
    assert time.monotonic() - start < SECONDS
    return found


def test_there_are_enough_cases_and_no_two_of_one_name() -> None:
    names = [case.name for case in (*HOSTILE, *BENIGN)]
    assert len(HOSTILE) >= 120
    assert len(BENIGN) >= 25
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("case", BENIGN, ids=name_of)
def test_an_ordinary_template_passes(case: TemplateCase) -> None:
    found = reviewed(case)
    assert (found.verdict, found.findings) == ("pass", ())
    assert found.family == case.family
    assert found.nearest is not None


@pytest.mark.parametrize("case", HOSTILE, ids=name_of)
def test_a_hostile_template_is_refused_with_its_code(case: TemplateCase) -> None:
    found = reviewed(case)
    codes = [code for code, _, _ in found.findings]
    assert found.verdict == "refuse", found.reason
    assert any(code.startswith(case.code) for code in codes), (found.reason, codes)
    assert found.reason.startswith("Its chat template ")
    assert found.reason.endswith(".")
    assert found.code == codes[0]
