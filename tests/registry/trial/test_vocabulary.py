"""The rarest tokens of a vocabulary, read by a confined child."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from registry.quarantine.trial.vocabulary import VocabularyUnreadable, rare_tokens
from tests.support.hostile_models import ARRAY, STRING, array, kv, small_gguf
from tests.support.real_models import chat_model


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """A read-only descriptor."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def test_a_real_vocabulary_has_rare_words() -> None:
    with opened(chat_model()) as descriptor:
        words = rare_tokens(descriptor)
    assert len(words) == 6
    assert all(word.isalpha() for word in words)


def test_a_file_without_a_list_of_tokens_has_none(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(small_gguf())
    with opened(tmp_path / "m.gguf") as descriptor:
        assert rare_tokens(descriptor) == ()


@pytest.mark.parametrize("data", [b"", b"GGUF", b"GGUF\x03\0\0\0" + b"\xff" * 64])
def test_what_is_no_model_has_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m.gguf").write_bytes(data)
    with opened(tmp_path / "m.gguf") as descriptor:
        assert rare_tokens(descriptor) == ()


def test_only_plain_words_are_taken_the_last_first(tmp_path: Path) -> None:
    tokens = [
        "▁early",
        "▁omia",
        "##fol",
        "<|im_end|>",
        "a b",
        "x" * 70,
        "12345",
        "Ġkept",
        "Ġkept",
        "e\u202ef",
    ]
    header = b"GGUF" + (3).to_bytes(4, "little") + (0).to_bytes(8, "little") + (1).to_bytes(8, "little")
    (tmp_path / "m.gguf").write_bytes(header + kv("tokenizer.ggml.tokens", ARRAY, array(STRING, tokens)))
    with opened(tmp_path / "m.gguf") as descriptor:
        assert rare_tokens(descriptor) == ("kept", "fol", "omia", "early")


def test_a_child_that_fails_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "registry.quarantine.trial.vocabulary.python_child",
        lambda module: ["/bin/sh", "-c", "echo '[\"; rm\"]'"],
    )
    (tmp_path / "m.gguf").write_bytes(b"")
    with opened(tmp_path / "m.gguf") as descriptor, pytest.raises(VocabularyUnreadable):
        rare_tokens(descriptor)
