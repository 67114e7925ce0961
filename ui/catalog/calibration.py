"""What loads on this box really took, and how far estimates are off because of that."""

from dataclasses import dataclass
from statistics import median

from django.utils import timezone

from ui.catalog.models import MeasuredLoad

RATIO_LIMITS = (0.7, 1.5)  # what is further off tells of a broken measure, not of this box
REMEMBERED = 50


@dataclass(frozen=True, slots=True)
class Calibration:
    """`measured` bytes by digest and context in tokens; `ratio` of measured to estimated, None before any load."""

    measured: dict[tuple[str, int], int]
    ratio: float | None


def calibration() -> Calibration:
    """What the last loads say."""
    rows = list(MeasuredLoad.objects.all()[:REMEMBERED])
    ratios = [row.measured_bytes / row.needed_estimate_bytes for row in rows if row.needed_estimate_bytes]
    low, high = RATIO_LIMITS
    ratio = min(max(median(ratios), low), high) if ratios else None
    return Calibration({(row.sha256, row.context): row.measured_bytes for row in rows}, ratio)


def remember_load(*, sha256: str, context: int, estimate: int, measured: int) -> None:
    """Write down what a load took, in place of what an earlier one with this context did."""
    MeasuredLoad.objects.update_or_create(
        sha256=sha256, context=context,
        defaults={"needed_estimate_bytes": estimate, "measured_bytes": measured, "at": timezone.now()},
    )  # fmt: skip
