"""Reading the environment: typed, and an error that says what to do."""

from pathlib import Path

import pytest

from secai_site.kernel import env
from secai_site.kernel.env import ConfigurationError


def test_text_comes_from_the_variable_before_its_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("from the file\n")
    monkeypatch.setenv("A_FILE", str(tmp_path / "secret"))
    assert env.text("A") == "from the file"
    monkeypatch.setenv("A", "from the variable")
    assert env.text("A") == "from the variable"


def test_text_has_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("A", raising=False)
    assert env.text("A", "quiet") == "quiet"


def test_an_unreadable_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("A_FILE", str(tmp_path / "missing"))
    with pytest.raises(ConfigurationError, match="A_FILE names .*missing"):
        env.text("A")


@pytest.mark.parametrize(
    ("value", "expected"), [("1", True), ("Yes", True), ("on", True), ("0", False), ("", False)]
)
def test_flag_knows_the_usual_words(monkeypatch: pytest.MonkeyPatch, value: str, expected: bool) -> None:
    monkeypatch.setenv("A", value)
    assert env.flag("A", default=not expected) is expected


@pytest.mark.parametrize("value", ["2", "ja", "enabled", "true "])
def test_flag_guesses_nothing(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("A", value)
    with pytest.raises(ConfigurationError, match="A is"):
        env.flag("A")


@pytest.mark.parametrize(
    ("value", "good"), [("1", True), ("9", True), ("0", False), ("10", False), ("x", False)]
)
def test_number_has_bounds(monkeypatch: pytest.MonkeyPatch, value: str, good: bool) -> None:
    monkeypatch.setenv("A", value)
    if good:
        assert env.number("A", 5, low=1, high=9) == int(value)
        return
    with pytest.raises(ConfigurationError, match="A is"):
        env.number("A", 5, low=1, high=9)


def test_words_drop_what_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A", " a, ,b,,")
    assert env.words("A") == ["a", "b"]


def test_folder_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("A", "below")
    assert env.folder("A", Path("/nowhere")) == tmp_path / "below"
    monkeypatch.setenv("A", "")
    assert env.folder("A", tmp_path) == tmp_path
