"""Typed readers for configuration: the environment only, `NAME_FILE` for secrets, an error that says what to do."""

import os
from pathlib import Path

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off", ""})


class ConfigurationError(RuntimeError):
    """A setting is missing or unusable; the message names it and the remedy."""


def text(name: str, default: str = "") -> str:
    """The value of `name`, else the contents of the file that `name_FILE` names, else `default`."""
    if name in os.environ:
        return os.environ[name]
    path = os.environ.get(f"{name}_FILE")
    if path is None:
        return default
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigurationError(
            f"{name}_FILE names {path}, which cannot be read: {error.strerror}"
        ) from error


def flag(name: str, *, default: bool = False) -> bool:
    """A yes/no setting; anything but the usual words is an error, not a guess."""
    value = os.environ.get(name)
    if value is None:
        return default
    if value.lower() in TRUE:
        return True
    if value.lower() in FALSE:
        return False
    raise ConfigurationError(f"{name} is {value!r}; write 1 or 0")


def number(name: str, default: int, *, low: int, high: int) -> int:
    """A whole number within `low`..`high`, both included."""
    value = os.environ.get(name)
    if value is None:
        return default
    try:
        result = int(value)
    except ValueError:
        raise ConfigurationError(f"{name} is {value!r}; write a whole number") from None
    if not low <= result <= high:
        raise ConfigurationError(f"{name} is {result}; it must lie between {low} and {high}")
    return result


def words(name: str) -> list[str]:
    """A comma-separated list; empty items are dropped."""
    return [item.strip() for item in os.environ.get(name, "").split(",") if item.strip()]


def folder(name: str, default: Path) -> Path:
    """An absolute path."""
    return Path(os.environ.get(name) or default).expanduser().absolute()
