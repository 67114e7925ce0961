"""Policy documents: which are one, what weakens another, what a model is for. No database."""

import json
from dataclasses import replace
from typing import Any

import pytest

from registry.policy import FORMATS, MAX_SIZE, MAX_SOURCES, Policy, PolicyInvalid, policy_from, weakenings
from registry.purpose import ENCODERS, Purpose, purpose_of

GOOD = Policy().document()


def test_a_document_is_read_as_it_was_written() -> None:
    policy = Policy(sources=("https://h.example/models/",), conduct_minimum=0, max_size_bytes=MAX_SIZE)
    assert policy_from(policy.document()) == policy
    assert policy_from(json.loads(json.dumps(policy.document()))) == policy
    assert policy_from(GOOD) == Policy()


def test_the_digest_names_the_content() -> None:
    assert policy_from(dict(reversed(GOOD.items()))).sha256 == Policy().sha256
    assert len(Policy().sha256) == 64
    assert Policy(revision_pins=True).sha256 != Policy().sha256


@pytest.mark.parametrize("name", GOOD)
def test_no_field_may_be_missing(name: str) -> None:
    with pytest.raises(PolicyInvalid, match=f"“{name}” is missing"):
        policy_from({field: value for field, value in GOOD.items() if field != name})


@pytest.mark.parametrize("document", [None, [], "", 1, [GOOD], json.dumps(GOOD)])
def test_what_is_no_object_is_no_policy(document: object) -> None:
    with pytest.raises(PolicyInvalid, match="object"):
        policy_from(document)


@pytest.mark.parametrize("name", ["format", "Signature", "x" * 500, 7, None])
def test_an_unknown_field_is_refused(name: Any) -> None:
    with pytest.raises(PolicyInvalid, match="There is no field") as refusal:
        policy_from({**GOOD, name: True})
    assert len(str(refusal.value)) < 400


@pytest.mark.parametrize("value", [None, 0, 1, "true", [], {}])
@pytest.mark.parametrize("name", ["local_import", "revision_pins"])
def test_a_switch_is_true_or_false(name: str, value: object) -> None:
    with pytest.raises(PolicyInvalid, match=f"{name} is true or false"):
        policy_from(GOOD | {name: value})


@pytest.mark.parametrize("value", [None, True, "", "never", "Required", 1, [], {}, ["required"]])
@pytest.mark.parametrize("name", ["signature", "unknown_templates", "promotion"])
def test_a_choice_is_one_of_its_words(name: str, value: object) -> None:
    with pytest.raises(PolicyInvalid, match=f"{name} is one of"):
        policy_from(GOOD | {name: value})


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("max_size_bytes", 1, MAX_SIZE), ("keep_refused_days", 1, 3650), ("conduct_minimum", 0, 100)],
)
def test_a_number_is_whole_and_in_its_range(name: str, low: int, high: int) -> None:
    for value in (low, high):
        assert getattr(policy_from(GOOD | {name: value}), name) == value
    wrong: object
    for wrong in (low - 1, high + 1, -(10**40), 10**40, True, False, 1.0, float("nan"), "1", [], {}):
        with pytest.raises(PolicyInvalid, match=f"{name} is a whole number"):
            policy_from(GOOD | {name: wrong})


def test_only_the_conduct_minimum_may_be_empty() -> None:
    assert policy_from(GOOD | {"conduct_minimum": None}).conduct_minimum is None
    for name in ("max_size_bytes", "keep_refused_days"):
        with pytest.raises(PolicyInvalid):
            policy_from(GOOD | {name: None})


@pytest.mark.parametrize("value", [None, "gguf", {"gguf": 1}, [1], [None], [["gguf"]], 7, True])
@pytest.mark.parametrize("name", ["sources", "formats"])
def test_a_list_is_a_list_of_texts(name: str, value: object) -> None:
    with pytest.raises(PolicyInvalid, match=f"{name} is a list of texts"):
        policy_from(GOOD | {name: value})


@pytest.mark.parametrize("name", ["sources", "formats"])
def test_a_list_may_be_empty(name: str) -> None:
    assert getattr(policy_from(GOOD | {name: []}), name) == ()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("formats", ["gguf", "gguf"], "each once"),
        ("formats", ["pickle"], "is no format"),
        ("formats", ["GGUF"], "is no format"),
        ("sources", ["https://h.example/"] * 2, "each once"),
        ("sources", [f"https://h.example/{n}" for n in range(MAX_SOURCES + 1)], "at most"),
    ],
)
def test_a_list_holds_known_entries_each_once(name: str, value: list[str], words: str) -> None:
    with pytest.raises(PolicyInvalid, match=words):
        policy_from(GOOD | {name: value})


@pytest.mark.parametrize(
    "source",
    [
        "", "huggingface.co", "http://huggingface.co/", "https://huggingface.co:443/", "https://HuggingFace.co/",
        "https://huggingface.co/?a=b", "https://huggingface.co/a?", "https://huggingface.co/a//",
        "https://*.huggingface.co/", "https://huggingface.co/../", "https://u@huggingface.co/", "local",
        "https://127.0.0.1/", "https://huggingface.co/a\n", "x" * 3000,
    ],
)  # fmt: skip
def test_a_source_is_written_in_its_one_form(source: str) -> None:
    with pytest.raises(PolicyInvalid, match="is no source"):
        policy_from(GOOD | {"sources": [source]})


@pytest.mark.parametrize(
    "source", ["https://h.example/", "https://h.example/models", "https://h.example/models/"]
)
def test_a_source_is_a_host_and_the_first_parts_of_a_path(source: str) -> None:
    assert policy_from(GOOD | {"sources": [source]}).sources == (source,)


# --- weaker or stricter ------------------------------------------------------------------------------

STRICT = Policy(
    local_import=False, sources=("https://h.example/models/",), revision_pins=True, formats=("gguf",),
    max_size_bytes=1000, signature="required", unknown_templates="refuse", conduct_minimum=80, promotion="manual",
)  # fmt: skip
WEAKER: dict[str, tuple[dict[str, Any], str]] = {
    "uploads": ({"local_import": True}, "upload"),
    "another host": ({"sources": ("https://h.example/models/", "https://g.example/")}, "https://g.example/"),
    "a wider prefix": ({"sources": ("https://h.example/",)}, "https://h.example/"),
    "a look-alike": ({"sources": ("https://h.example/models_evil/",)}, "models_evil"),
    "no pins": ({"revision_pins": False}, "immutable revision"),
    "a format": ({"formats": FORMATS}, "safetensors"),
    "size": ({"max_size_bytes": 1001}, "Larger"),
    "signature": ({"signature": "optional"}, "Unsigned"),
    "templates": ({"unknown_templates": "allow"}, "no known family"),
    "conduct": ({"conduct_minimum": 79}, "conduct grade"),
    "no conduct": ({"conduct_minimum": None}, "conduct grade"),
    "promotion": ({"promotion": "automatic"}, "without asking"),
}


@pytest.mark.parametrize("case", WEAKER)
def test_what_becomes_weaker_is_said_and_the_way_back_is_silent(case: str) -> None:
    changes, words = WEAKER[case]
    weaker = replace(STRICT, **changes)
    said = weakenings(STRICT, weaker)
    assert any(words in sentence for sentence in said), said
    if case != "a look-alike":
        assert weakenings(weaker, STRICT) == []


def test_each_field_weakens_by_itself() -> None:
    assert len(weakenings(STRICT, Policy())) == 2 + 2 + 7
    assert weakenings(Policy(), Policy()) == []


@pytest.mark.parametrize(
    "sources",
    [
        (), ("https://huggingface.co/org/",), ("https://huggingface.co",),
        ("https://registry.ollama.ai/", "https://huggingface.co/"),
    ],
)  # fmt: skip
def test_a_narrower_list_of_sources_is_not_weaker(sources: tuple[str, ...]) -> None:
    assert weakenings(Policy(), Policy(sources=sources)) == []


def test_keeping_refused_files_longer_or_shorter_admits_nothing() -> None:
    assert weakenings(Policy(), Policy(keep_refused_days=1)) == []
    assert weakenings(Policy(keep_refused_days=1), Policy()) == []


# --- what a model is for -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "facts", "purpose"),
    [
        ("diffusion", {}, Purpose.PICTURES),
        ("diffusion", {"chat_template": "x"}, Purpose.PICTURES),
        ("safetensors", {"chat_template": "x"}, Purpose.WEIGHTS),
        (None, {"chat_template": "x"}, Purpose.WEIGHTS),
        ("pickle", {}, Purpose.WEIGHTS),
        ("gguf", {"kind": "adapter", "chat_template": "x"}, Purpose.WEIGHTS),
        ("gguf", {"kind": "mmproj"}, Purpose.WEIGHTS),
        ("gguf", {"kind": "model", "chat_template": "x"}, Purpose.CHAT),
        ("gguf", {"chat_template": "x"}, Purpose.CHAT),
        ("gguf", {"chat_template": ""}, Purpose.COMPLETION),
        ("gguf", {"chat_template": None, "pooling": None}, Purpose.COMPLETION),
        ("gguf", {"architecture": "llama"}, Purpose.COMPLETION),
        ("gguf", {"architecture": "llama", "pooling": "none", "chat_template": "x"}, Purpose.CHAT),
        ("gguf", {"architecture": "llama", "pooling": "mean", "chat_template": "x"}, Purpose.EMBEDDING),
        *[("gguf", {"architecture": name, "chat_template": "x"}, Purpose.EMBEDDING) for name in sorted(ENCODERS)],
    ],
)  # fmt: skip
def test_what_a_model_is_for(kind: str | None, facts: dict[str, Any], purpose: Purpose) -> None:
    assert purpose_of(kind, facts) is purpose
