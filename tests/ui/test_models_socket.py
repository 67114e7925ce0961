"""The models page's socket: what it says when something is wrong, so that the page never goes dead in silence."""

from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError, close_old_connections

from tests.support.cast import Cast, key_of
from tests.ui.test_chat_socket import opened
from ui.catalog import consumers, listing

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def threads_close_their_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Channels' tester keeps them open, for tests inside one transaction; these are not."""
    monkeypatch.setattr("channels.testing.application.no_op", close_old_connections)


@pytest.fixture
def reader(cast: Cast, peers: Any) -> dict[str, str]:
    """The headers of a program that may look at models."""
    return {"authorization": f"Bearer {key_of(cast.member, 'read')}"}


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> list[Exception]:
    """Let the list of models fail with this error until it is taken out of the list."""
    errors = [error]

    def all_models() -> list[dict[str, Any]]:
        for one in errors:
            raise one
        return listing.all_models()

    monkeypatch.setattr(consumers, "all_models", all_models)
    return errors


async def test_a_busy_database_is_told_and_the_list_comes_when_it_is_free(
    reader: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = failing(monkeypatch, OperationalError("database is locked"))
    async with opened("/ws/models", **reader) as socket:
        frame = await socket.hear()
        assert (frame["type"], frame["code"]) == ("error", "database.unavailable")
        await sync_to_async(errors.clear)()
        assert await socket.hear() == {"type": "models", "models": []}


async def test_an_unexpected_error_is_logged_and_closes_the_socket_so_that_the_page_connects_again(
    reader: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failing(monkeypatch, ZeroDivisionError("a fault"))
    async with opened("/ws/models", **reader) as socket:
        assert await socket.closed_with() == 1011
    assert "cannot be kept up to date" in caplog.text
