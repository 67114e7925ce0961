"""The registry from a terminal."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command

from registry.models import Artifact, QuarantineItem
from registry.tables import size, table
from secai_site.kernel.inference.echo import EchoEngine
from tests.support.builders import flip_byte, held, promoted, submitted
from tests.support.hostile_models import small_gguf

pytestmark = pytest.mark.django_db


def said(*command: Any, **options: Any) -> str:
    """What a command prints."""
    out = io.StringIO()
    call_command(*command, stdout=out, stderr=io.StringIO(), **options)
    return out.getvalue()


def test_a_file_is_imported(tmp_path: Path, audited: Any) -> None:
    path = tmp_path / "Tiny Model.gguf"
    path.write_bytes(small_gguf())
    signature = tmp_path / "Tiny Model.gguf.minisig"
    signature.write_bytes(b"untrusted comment")
    text = said("model_import", str(path), sha256="0" * 64, signature=signature)
    item = QuarantineItem.objects.get()
    assert text == f"Tiny-Model is in quarantine as {item.pk}.\n"
    assert (item.source, item.pin, item.submitted_by) == ("local", "0" * 64, "service:command")
    assert item.file.read_bytes() == path.read_bytes()
    assert item.signature.read_bytes() == b"untrusted comment"
    assert audited("registry.file:submitted")[0]["actor"] == "service:command"
    assert list((Path(django_settings.QUARANTINE_DIR) / "incoming").iterdir()) == []


def test_a_folder_is_imported(tmp_path: Path) -> None:
    for name in ("a-00001-of-00002.gguf", "a-00002-of-00002.gguf"):
        (tmp_path / name).write_bytes(name.encode())
    said("model_import", str(tmp_path), name="a")
    assert [file["path"] for file in QuarantineItem.objects.get().files] == [
        "a-00001-of-00002.gguf",
        "a-00002-of-00002.gguf",
    ]


def test_a_bad_import_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"x")
    (tmp_path / "link").symlink_to("x.gguf")
    for arguments in (["missing"], [str(tmp_path / "link")], [str(tmp_path / "x.gguf"), "--name", "a/b"]):
        with pytest.raises(CommandError):
            said("model_import", *arguments)
    assert not QuarantineItem.objects.exists()
    assert list((Path(django_settings.QUARANTINE_DIR) / "incoming").iterdir()) == []


def test_models_are_listed() -> None:
    assert "There are no models" in said("model_list")
    promoted("tiny")
    assert "tiny  promoted  chat" in said("model_list")
    assert json.loads(said("model_list", "--json"))[0]["name"] == "tiny"


def test_models_are_verified(engine: EchoEngine) -> None:
    sound, broken = promoted("sound"), promoted("broken")
    assert said("model_verify").count("verified") == 2
    flip_byte(Path(broken.path))
    assert "verified" in said("model_verify", "SOUND")
    with pytest.raises(CommandError, match="not what was promoted"):
        said("model_verify")
    assert Artifact.objects.get(name="broken").status == "failed"
    assert Artifact.objects.get(pk=sound.pk).status == "promoted"
    with pytest.raises(CommandError, match="no model named"):
        said("model_verify", "missing")


def test_refused_files_are_scanned_again() -> None:
    item = submitted("one")
    QuarantineItem.objects.update(status="refused")
    for arguments in ([str(item.pk)], ["one"], ["--refused"]):
        QuarantineItem.objects.update(status="refused")
        assert "one" in said("model_rescan", *arguments)
        assert QuarantineItem.objects.get().status == "waiting"
    for arguments in ([], ["missing"], ["one"]):
        with pytest.raises(CommandError):
            said("model_rescan", *arguments)


def test_the_quarantine_is_reported() -> None:
    held("waits")
    assert "waits" in said("quarantine_report")
    report = json.loads(said("quarantine_report", "--json"))
    assert report["policy"]["number"] == 0
    assert [stage["verdict"] for stage in report["items"][0]["stages"]] == ["pass"] * 7


def test_a_table_cannot_move_the_cursor() -> None:
    assert table(("a", "b"), [("x\x1b[2Jy", None)]) == "a       b\nx?[2Jy  -"
    assert [size(n) for n in (0, 999, 1500, 98_000_000, 2_500_000_000)] == [
        "0 B", "999 B", "2 kB", "98 MB", "2.5 GB",
    ]  # fmt: skip
