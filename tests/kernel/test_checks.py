"""Each numbered check trips when what it guards is gone, and only then."""

from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks

from secai_site.kernel.audit.chain import derive_key


def errors() -> set[str]:
    """The ids of this product's own errors."""
    return {str(message.id) for message in run_checks(tags=["secai"]) if message.level >= 40}


def test_a_box_as_it_is_installed_passes() -> None:
    assert errors() == set()


@pytest.mark.parametrize("bind", ["", "localhost", "0.0.0.0:80", "127.0.0.1/8"])
def test_e001_a_bind_that_is_no_address(settings: Any, bind: str) -> None:
    settings.BIND = bind
    assert errors() == {"secai.E001"}


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "192.168.1.4"])
def test_e002_an_open_door_without_tls(settings: Any, bind: str) -> None:
    settings.BIND = bind
    settings.ALLOWED_HOSTS = ["localhost", "box.example"]
    settings.BEHIND_TLS = False
    assert errors() == {"secai.E002"}


def test_e002_an_open_door_without_named_hosts(settings: Any) -> None:
    settings.BIND, settings.BEHIND_TLS = "0.0.0.0", True
    settings.ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
    assert errors() == {"secai.E002"}
    settings.ALLOWED_HOSTS = ["localhost", "box.example"]
    assert errors() == set()


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o777])
def test_e003_a_home_that_others_may_enter(settings: Any, tmp_path: Path, mode: int) -> None:
    settings.SECAI_HOME = tmp_path
    tmp_path.chmod(mode)
    assert errors() == {"secai.E003"}
    tmp_path.chmod(0o700)
    assert errors() == set()


def test_e004_keys_that_are_short_or_the_same(settings: Any) -> None:
    long = "k" * 43
    for site, audit in ((long, long), ("k" * 42, "a" * 43), (long, "")):
        settings.SECRET_KEY, settings.AUDIT_KEY = site, audit
        assert errors() == {"secai.E004"}
    settings.SECRET_KEY, settings.AUDIT_KEY = long, "a" * 43
    assert errors() == set()


@pytest.mark.parametrize("promotion", ["", "auto", "Automatic"])
def test_e005_promotion_is_automatic_or_manual(settings: Any, promotion: str) -> None:
    settings.PROMOTION = promotion
    assert errors() == {"secai.E005"}


@pytest.mark.parametrize("host", ["*", ".example.org"])
def test_e006_a_wildcard_host(settings: Any, host: str) -> None:
    settings.ALLOWED_HOSTS = ["localhost", host]
    assert errors() == {"secai.E006"}


def test_keys_for_different_purposes_differ() -> None:
    assert derive_key("s", "chain") != derive_key("s", "head") != derive_key("t", "head")
