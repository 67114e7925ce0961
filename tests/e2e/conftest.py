"""The real box, started once for all end-to-end tests."""

from collections.abc import Iterator

import pytest

from tests.support.box import Box, running


@pytest.fixture(scope="session")
def box() -> Iterator[Box]:
    """A running box with the bundled model promoted and the operator `olga`."""
    with running() as started:
        started.operator("olga")
        started.wait_for_model(started.key("olga"))
        yield started


@pytest.fixture(scope="session")
def key(box: Box) -> str:
    """A key that may do everything."""
    return box.key("olga")
