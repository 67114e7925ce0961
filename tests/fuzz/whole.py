"""A model in one file through everything that reads it: detection, headers, facts, statistics and digests."""

import json
from collections.abc import Mapping
from typing import Any

from registry.quarantine.formats.manifest import Manifest
from registry.quarantine.formats.members import Member
from registry.quarantine.formats.model import Model, read_model
from registry.quarantine.formats.statistics import Statistics
from registry.quarantine.formats.survey import survey
from tests.fuzz.target import opened, refused


class NoRules:
    """A scanner without rules: the real ones are those of YARA-X, which is fuzzed by its makers."""

    reach = 64

    def scan(self, rules: str, data: bytes, file: str, base: int) -> None:
        """Find nothing."""


def check_model(data: bytes) -> bool:
    """Raise on a breach by any reader of a single file; whether all accepted it."""
    models: list[Model] = []
    with opened(data) as (fd,):
        member = Member("", fd)
        if refused(lambda: models.append(read_model([member], is_set=False)), len(data)):
            return False
        check_plain(models[0].facts)
        return not refused(lambda: _survey(member, models[0]), len(data))


def check_plain(value: Mapping[str, Any]) -> None:
    """Evidence is stored as JSON in UTF-8 by a database that takes no NUL."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    text.encode()
    assert "\\u0000" not in text, "a NUL in the facts"


def _survey(member: Member, model: Model) -> None:
    statistics = Statistics()
    manifest = survey([member], model.parts, NoRules(), statistics, lambda _share: None)
    check_plain(statistics.to_json())
    assert Manifest.from_json(json.loads(json.dumps(manifest.to_json()))) == manifest
