"""How a file moves through the quarantine, as a table."""

from enum import StrEnum


class ItemStatus(StrEnum):
    """Where a quarantined file stands. `held`: passed, and waits for the operator's word."""

    WAITING = "waiting"
    SCANNING = "scanning"
    REFUSED = "refused"
    HELD = "held"
    PROMOTED = "promoted"


MOVES: dict[ItemStatus, frozenset[ItemStatus]] = {
    ItemStatus.WAITING: frozenset({ItemStatus.SCANNING}),
    # a scan that a crash interrupted starts again from the top
    ItemStatus.SCANNING: frozenset(
        {ItemStatus.SCANNING, ItemStatus.REFUSED, ItemStatus.HELD, ItemStatus.WAITING}
    ),
    ItemStatus.REFUSED: frozenset({ItemStatus.WAITING}),
    ItemStatus.HELD: frozenset({ItemStatus.WAITING, ItemStatus.PROMOTED, ItemStatus.REFUSED}),
    ItemStatus.PROMOTED: frozenset(),
}


class Verdict(StrEnum):
    """What a stage says; everything but `pass` and `not_applicable` ends in a refusal."""

    PASS = "pass"  # noqa: S105
    REFUSE = "refuse"
    INCONCLUSIVE = "inconclusive"
    NOT_APPLICABLE = "not_applicable"
    PENDING = "pending"


LETS_THROUGH = frozenset({Verdict.PASS, Verdict.NOT_APPLICABLE})

STAGES: tuple[str, ...] = (
    "source_policy", "format_gate", "integrity", "provenance", "static_scan", "behavior", "diffusion",
)  # fmt: skip
