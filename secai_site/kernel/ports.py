"""Contracts and what stands behind them: `bind` at start, `get` where needed.

An app that needs another one asks for its contract (a Protocol in that app's `contract.py`); the composition
root binds it to a client. So no app imports another one's inside.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

Contract = TypeVar("Contract")

_factories: dict[type[Any], Callable[[], Any]] = {}


class Unbound(LookupError):
    """Nothing was bound to this contract; the composition root forgot it."""


def bind(contract: type[Contract], factory: Callable[[], Contract]) -> None:
    """Let `get(contract)` return what `factory` makes; a later call replaces an earlier one."""
    _factories[contract] = factory


def get(contract: type[Contract]) -> Contract:
    """Return what stands behind `contract`."""
    try:
        factory = _factories[contract]
    except KeyError:
        raise Unbound(f"nothing is bound to {contract.__name__}; see secai_site/wiring.py") from None
    return cast("Contract", factory())
