"""A decision is a value: allowed by a named rule, or denied by one, with the reason a person reads."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Allow:
    """It may happen; `rule` says by which rule."""

    rule: str

    def __bool__(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Deny:
    """It may not happen. `rule` is the stable code `area.reason`, `reason` a sentence."""

    rule: str
    reason: str

    def __bool__(self) -> bool:
        return False


Decision = Allow | Deny
