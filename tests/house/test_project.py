"""What holds for the project as a whole."""

import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import call_command
from drf_spectacular.drainage import GENERATOR_STATS

from secai_site.listeners import LISTENERS
from tests.support.cast import Cast, key_of
from tests.support.client import program

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.django_db
def test_the_migrations_are_complete() -> None:
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


@pytest.mark.parametrize("listener", LISTENERS)
def test_the_openapi_document_is_made_without_a_warning(
    cast: Cast, listener: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings(), GENERATOR_STATS.silence():
        warnings.simplefilter("error")
        answer = program(key_of(cast.operator, "read"), listener).get("/api/schema/")
        complaints = [*GENERATOR_STATS._warn_cache, *GENERATOR_STATS._error_cache]
    assert complaints == []
    assert capsys.readouterr().err == ""
    document: dict[str, Any] = yaml.safe_load(answer.content)
    assert document["openapi"].startswith("3.1")
    operations = [
        o for methods in document["paths"].values() for o in methods.values() if isinstance(o, dict)
    ]
    named = [operation["operationId"] for operation in operations]
    assert len(named) == len(set(named)) > 0


@pytest.mark.parametrize("listener", LISTENERS)
def test_the_docs_page_loads_nothing_from_elsewhere(cast: Cast, listener: str) -> None:
    page = program(key_of(cast.operator, "admin"), listener).get("/api/docs/").content.decode()
    assert not re.search(r"""(src|href)=["'](https?:)?//""", page)
    assert "<script>" not in page


def test_the_product_evaluates_and_unpickles_nothing() -> None:
    words = re.compile(
        r"^\s*(import|from) (pickle|marshal|shelve)\b|\beval\(|\bexec\(|yaml\.load\(|shell=True", re.MULTILINE
    )
    apps = ("secai_site", "registry", "firewall", "airlock", "agent", "search", "ui")
    files = [path for app in apps for path in (ROOT / app).rglob("*.py")]
    assert [str(path) for path in files if words.search(path.read_text(encoding="utf-8"))] == []


def test_pages_carry_no_inline_script_or_style() -> None:
    inline = re.compile(r"<script(?![^>]*\bsrc=)[^>]*>|\son\w+=[\"']|<style|\sstyle=[\"']|javascript:")
    found = [
        str(path.relative_to(ROOT)) for path in (ROOT / "ui" / "templates").rglob("*.html")
        if inline.search(path.read_text(encoding="utf-8"))
    ]  # fmt: skip
    assert found == []
