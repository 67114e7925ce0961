"""Applies the rules to files, window by window, in one process that need not open anything later."""

import time
from collections.abc import Mapping
from typing import Final

import yara_x

from registry.quarantine.formats.errors import FormatError
from registry.quarantine.rules import REACH, Match

# Per pattern and window; rules whose condition looks at each place count as many as a match (see `anywhere.yar`).
MAX_MATCHES: Final = 1_000
# Processor time: real files need a second for some hundred megabytes, floods of half matches a thousand times that.
BASE_SECONDS: Final = 0.5
BYTES_PER_SECOND: Final = 50_000_000


class RuleScanner:
    """All rules, compiled; `matches` holds the first match of each rule in each file, `reach` is their overlap."""

    reach = REACH

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._rules = {name: _compiled(source) for name, source in sources.items()}
        self._found: dict[tuple[str, str], Match] = {}
        self._seconds_left = BASE_SECONDS

    @property
    def matches(self) -> tuple[Match, ...]:
        """In the order in which they were found."""
        return tuple(self._found.values())

    def scan(self, rules: str, data: bytes, file: str, base: int) -> None:
        """Apply the rules of one file (`anywhere`, `header`, …) to `data`, which lies at byte `base`.

        Raises `FormatError` when the bytes are made to keep it busy.
        """
        if not data:
            return
        before = time.thread_time()
        for rule in _scanner(self._rules[rules]).scan(data).matching_rules:
            key = (rule.identifier, file)
            if key not in self._found:
                self._found[key] = Match(rule.identifier, _meaning(rule), file, base + _place(rule))
        self._seconds_left += len(data) / BYTES_PER_SECOND - (time.thread_time() - before)
        if self._seconds_left < 0:
            raise FormatError(
                "The file is full of beginnings of programs and scripts, so that looking through it takes far too long",
                base,
                "rules.slow",
            )


def _compiled(source: str) -> yara_x.Rules:
    compiler = yara_x.Compiler(error_on_slow_pattern=True, includes_enabled=False)
    compiler.add_source(source)
    return compiler.build()


def _scanner(rules: yara_x.Rules) -> yara_x.Scanner:
    """A scanner for one window: each reserves 80 MiB of addresses, of which this process has few."""
    scanner = yara_x.Scanner(rules)
    scanner.max_matches_per_pattern(MAX_MATCHES)
    return scanner


def _meaning(rule: yara_x.Rule) -> str:
    return str(dict(rule.metadata)["meaning"])


def _place(rule: yara_x.Rule) -> int:
    """Where the first pattern that matched did so first."""
    return next((pattern.matches[0].offset for pattern in rule.patterns if pattern.matches), 0)
