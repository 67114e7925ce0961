"""What an expression of a template may hold."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Self

MAX_CONSTANTS: Final = 400
MAX_JOINED: Final = 16


class Origin(Enum):
    """What a value holds: a whole `MESSAGE` (or several), its `TEXT`, the `SIZE` of a text, a `COUNT` of anything
    else, the `DATE`, the `NAME` of a tool, a constant that was `MADE` out of others."""

    MESSAGE = auto()
    TEXT = auto()
    SIZE = auto()
    COUNT = auto()
    DATE = auto()
    NAME = auto()
    MADE = auto()


@dataclass(frozen=True, slots=True)
class Value:
    """What an expression may hold: its origins, and the constants that it may be or contain."""

    origins: frozenset[Origin] = frozenset()
    constants: frozenset[str | int] = frozenset()

    def __or__(self, other: Self) -> "Value":
        constants = self.constants | other.constants
        return Value(
            self.origins | other.origins, constants if len(constants) <= MAX_CONSTANTS else self.constants
        )

    def has(self, *origins: Origin) -> bool:
        """Whether it may hold any of these."""
        return not self.origins.isdisjoint(origins)

    def strings(self) -> frozenset[str]:
        """The constant texts."""
        return frozenset(c for c in self.constants if isinstance(c, str))

    def numbers(self) -> frozenset[int]:
        """The constant numbers."""
        return frozenset(c for c in self.constants if isinstance(c, int) and not isinstance(c, bool))


NOTHING: Final = Value()


def union(values: Iterable[Value]) -> Value:
    """What any of `values` may hold."""
    total = NOTHING
    for value in values:
        total |= value
    return total


def origin(*origins: Origin) -> Value:
    """A value of these origins and no known constant."""
    return Value(frozenset(origins))


def written(value: Value) -> Value:
    """A message written out is text; a tool's name written into something is that name no more."""
    value = Value(value.origins - {Origin.NAME}, value.constants)
    return value | origin(Origin.TEXT) if value.has(Origin.MESSAGE) else value


def made(value: Value) -> Value:
    """Constants that went through a filter or a method are no longer those that stand in the template."""
    return value | origin(Origin.MADE) if value.strings() else value


def joined(values: list[Value]) -> Value:
    """Texts put behind one another, with their constants joined as far as they are few."""
    total = written(union(values)) if len(values) > 1 else union(values)
    joined: set[str] = {""}
    for value in values:
        endings = value.strings() or {""}
        joined = {text + ending for text in joined for ending in endings}
        if len(joined) > MAX_JOINED:
            return total
    return total | Value(constants=frozenset(joined - {""}))
