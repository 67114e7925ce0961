"""The rules: that they compile fast enough, say what they mean, and leave chance alone."""

import random
import re
import time
from pathlib import Path

import pytest

from registry.quarantine import rules
from registry.quarantine.formats.errors import FormatError
from registry.quarantine.rules.scanner import RuleScanner
from tests.support.planted import elf, pe

NAMES = ("anywhere", "header", "pickles", "weights")


@pytest.fixture
def scanner() -> RuleScanner:
    return RuleScanner(rules.sources())


def test_every_file_of_rules_is_known_to_the_survey() -> None:
    survey = (Path(rules.FOLDER).parent / "formats/survey.py").read_text()
    assert tuple(rules.sources()) == NAMES
    assert all(f'"{name}"' in survey for name in NAMES)


def test_every_rule_says_what_it_means_in_a_name_of_its_own() -> None:
    source = "\n".join(rules.sources().values())
    names = re.findall(r"^rule (\w+) \{", source, re.MULTILINE)
    assert len(set(names)) == len(names) >= 15
    assert len(re.findall(r'^ {8}meaning = "(?:a|an|the) [^"]+[^."]"$', source, re.MULTILINE)) == len(names)


def test_the_version_changes_with_any_rule(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = rules.version()
    assert re.fullmatch("[0-9a-f]{64}", before)
    for name, source in rules.sources().items():
        (tmp_path / f"{name}.yar").write_text(source)
    monkeypatch.setattr(rules, "FOLDER", tmp_path)
    assert rules.version() == before
    (tmp_path / "weights.yar").write_text(rules.sources()["weights"] + "\n")
    assert rules.version() != before


def test_random_bytes_match_nothing(scanner: RuleScanner) -> None:
    noise = random.Random(7)
    for number in range(32):
        for name in NAMES:
            scanner.scan(name, noise.randbytes(1 << 20), str(number), 0)
    assert scanner.matches == ()


def test_the_first_match_of_a_rule_in_a_file_is_reported_with_its_place(scanner: RuleScanner) -> None:
    scanner.scan("anywhere", b"x" * 50 + elf() + b"x" * 9 + elf(), "one", 1_000)
    scanner.scan("anywhere", elf(), "one", 9_000)
    scanner.scan("anywhere", elf(), "two", 0)
    assert [(match.code, match.file, match.offset) for match in scanner.matches] == [
        ("rules.elf_program", "one", 1_050),
        ("rules.elf_program", "two", 0),
    ]


@pytest.mark.parametrize(
    "almost",
    [
        b"\x7fELF\x02\x01\x01" + b"\xff" * 60,
        pe()[128:],  # no MZ before it
        b"MZ" + pe()[2:60] + b"\x40\0\0\0" + pe()[64:],  # MZ that leads elsewhere
        b"PK\x03\x04" + b"\xff" * 60,
        b"\0asm\x02\0\0\0",
        b"ustar\x0000" + bytes(300),
    ],
)
def test_a_magic_without_its_structure_is_no_match(almost: bytes, scanner: RuleScanner) -> None:
    scanner.scan("anywhere", b"x" * 400 + almost + b"x" * 400, "", 0)
    assert scanner.matches == ()


@pytest.mark.parametrize("flood", [b"eval(", b"document.", b"powershell -e "])
def test_a_flood_of_half_scripts_is_refused_before_it_takes_long(flood: bytes, scanner: RuleScanner) -> None:
    before = time.process_time()
    with pytest.raises(FormatError) as caught:
        for number in range(64):
            scanner.scan("header", flood * ((1 << 20) // len(flood)), "", number << 20)
    assert caught.value.code == "rules.slow"
    assert time.process_time() - before < 5


@pytest.mark.parametrize(
    "flood", [b"MZ\0\0", b"PE\0\0", b"PK\x03\x04", b"\x7fELF", b"#!/bin/", b"\x8c\x02os"]
)
def test_a_flood_of_half_programs_is_passed_through(flood: bytes, scanner: RuleScanner) -> None:
    for name in ("anywhere", "pickles", "weights"):
        scanner.scan(name, flood * ((4 << 20) // len(flood)), "", 0)
    assert scanner.matches == ()


def test_a_flood_of_half_programs_does_not_hide_a_whole_one(scanner: RuleScanner) -> None:
    half = pe()[128:160]
    scanner.scan("anywhere", half * 5_000 + pe(), "", 0)
    assert [match.rule for match in scanner.matches] == ["windows_program"]
