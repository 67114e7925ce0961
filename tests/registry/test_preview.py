"""What a new policy would say of the models on the box, from what their scans found."""

from dataclasses import replace
from typing import Any

import pytest

from registry.policy import Policy
from registry.preview import Effect, Scanned, effects, objections
from registry.selectors import scanned_models
from tests.support.builders import held, promoted, submitted

EVIDENCE: dict[str, dict[str, Any]] = {
    "format_gate": {"format": "gguf", "facts": {}},
    "provenance": {"signed": False, "signer": None, "pinned": False},
    "static_scan": {"template": {"family": None}},
    "behavior": {"conduct": {"grade": 60}},
}
SCANNED = Scanned("tiny", "promoted", "local", 1000, EVIDENCE)


def test_the_policy_of_a_new_box_objects_to_nothing() -> None:
    assert objections(SCANNED, Policy()) == ()


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (Policy(local_import=False), "does not take uploaded models"),
        (Policy(max_size_bytes=999), "larger than"),
        (Policy(formats=("diffusion",)), "does not take gguf"),
        (Policy(signature="required"), "not signed by a key"),
        (Policy(unknown_templates="refuse"), "no known family"),
        (Policy(conduct_minimum=61), "graded 60, below 61"),
    ],
)
def test_a_stricter_policy_objects_in_a_sentence(policy: Policy, words: str) -> None:
    (sentence,) = objections(SCANNED, policy)
    assert words in sentence
    assert sentence.endswith(".")


@pytest.mark.parametrize(
    "policy",
    [
        Policy(max_size_bytes=1000), Policy(formats=("gguf",)), Policy(conduct_minimum=60), Policy(sources=()),
        Policy(revision_pins=True), Policy(promotion="manual"), Policy(keep_refused_days=1),
    ],
)  # fmt: skip
def test_what_it_still_takes_is_no_objection(policy: Policy) -> None:
    assert objections(SCANNED, policy) == ()


@pytest.mark.parametrize(
    ("stage", "found", "policy"),
    [
        ("provenance", {"signed": True, "pinned": False}, Policy(signature="required")),
        ("provenance", {"signed": False, "pinned": True}, Policy(signature="required")),
        ("static_scan", {"template": {"family": "chatml"}}, Policy(unknown_templates="refuse")),
        ("static_scan", {}, Policy(unknown_templates="refuse")),
        ("behavior", {"conduct": {"grade": None}}, Policy(conduct_minimum=100)),
        ("behavior", {}, Policy(conduct_minimum=100)),
    ],
)
def test_what_is_good_or_was_not_looked_at_is_no_objection(
    stage: str, found: dict[str, Any], policy: Policy
) -> None:
    assert objections(replace(SCANNED, evidence=EVIDENCE | {stage: found}), policy) == ()


def test_nothing_is_objected_before_a_scan_but_what_is_plain_to_see() -> None:
    strict = Policy(formats=(), signature="required", unknown_templates="refuse", conduct_minimum=100)
    assert objections(replace(SCANNED, evidence={}), strict) == ()
    assert len(objections(replace(SCANNED, evidence={}), replace(strict, local_import=False))) == 1


def test_only_models_that_are_judged_otherwise_are_named() -> None:
    download = replace(SCANNED, name="far", source="https://huggingface.co/org/m.gguf", status="held")
    assert effects([SCANNED, download], Policy(), Policy()) == []
    (effect,) = effects([SCANNED, download], Policy(), Policy(sources=()))
    assert effect == Effect("far", "held", (), effect.after)
    assert "not on the list" in effect.after[0]
    (back,) = effects([SCANNED, download], Policy(sources=()), Policy())
    assert (back.before, back.after) == (effect.after, ())


@pytest.mark.django_db
def test_the_models_of_the_box_come_with_their_evidence() -> None:
    promoted("one")
    held("two", b"two")
    submitted("three", b"three")
    found = {one.name: one for one in scanned_models()}
    assert [(name, found[name].status) for name in ("one", "two", "three")] == [
        ("one", "promoted"), ("two", "held"), ("three", "waiting"),
    ]  # fmt: skip
    assert found["two"].evidence["format_gate"]["format"] == "gguf"
    assert found["three"].evidence == {}
    assert len(effects(list(found.values()), Policy(), Policy(local_import=False))) == 3
