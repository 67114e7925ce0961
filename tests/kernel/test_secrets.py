"""The keys of the box: made once, closed to others, never replaced in silence."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from secai_site.kernel import secrets
from secai_site.kernel.env import ConfigurationError


def test_the_first_start_makes_a_key_that_stays(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "site.key"
    made = secrets.read_or_create(path, first_start=True)
    assert len(made) >= 48
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert secrets.read_or_create(path, first_start=False) == made
    assert [entry.name for entry in path.parent.iterdir()] == ["site.key"]


def test_a_lost_key_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="missing"):
        secrets.read_or_create(tmp_path / "site.key", first_start=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "site.key"
    secrets.create(path)
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        secrets.read(path)


def test_a_link_is_no_key(tmp_path: Path) -> None:
    secrets.create(tmp_path / "real")
    (tmp_path / "site.key").symlink_to(tmp_path / "real")
    with pytest.raises(OSError, match="symbolic links"):
        secrets.read(tmp_path / "site.key")


@pytest.mark.parametrize("content", ["", "\n", "x" * 47])
def test_an_empty_or_short_key_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "site.key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="no usable key"):
        secrets.read(path)


def test_racing_first_starts_agree_on_one_key(tmp_path: Path) -> None:
    path = tmp_path / "site.key"
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: secrets.create(path), range(32)))
    assert made == {secrets.read(path)}
    assert [entry.name for entry in tmp_path.iterdir()] == ["site.key"]
