"""Fetching a file through the airlock: the same cases against the client and against the fake of the other tests."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from airlock.client import AirlockClient
from airlock.contract import (
    UPSTREAM_STATUS,
    Airlock,
    AirlockDisabled,
    Changed,
    DestinationRefused,
    UpstreamFailed,
    is_strong,
)
from secai_site.kernel.http import peer
from tests.support.airlock import AirlockListener, FakeAirlock, Pieces, Remote
from tests.support.peers import Nobody

URL = "https://models.example/a/model.gguf"
DATA = bytes(range(256)) * 20

Fetch = Callable[..., tuple[Any, bytes]]


@pytest.fixture
def world() -> FakeAirlock:
    """One file outside."""
    made = FakeAirlock()
    made.files[URL] = Remote(DATA)
    return made


@pytest.fixture(params=["client", "fake"])
def airlock(request: pytest.FixtureRequest, world: FakeAirlock, monkeypatch: pytest.MonkeyPatch) -> Airlock:
    """Both that speak the contract, in front of the same world."""
    if request.param == "fake":
        return world
    listener = AirlockListener(world)
    monkeypatch.setattr(peer, "transport_for", lambda _service: listener)
    return AirlockClient(caller="ui")


def fetch(airlock: Airlock, url: str = URL, **options: Any) -> tuple[Any, bytes]:
    """What is said of the file, and its bytes."""
    with airlock.open(url, **options) as remote:
        return remote, b"".join(remote.chunks)


def test_a_file_is_fetched_whole(airlock: Airlock, world: FakeAirlock) -> None:
    remote, data = fetch(airlock)
    assert data == DATA
    assert (remote.status, remote.start, remote.size_bytes) == (200, 0, len(DATA))
    assert (remote.etag, remote.final_url) == (world.files[URL].etag, URL)


def test_it_goes_on_from_where_it_was(airlock: Airlock, world: FakeAirlock) -> None:
    remote, data = fetch(airlock, start=1234, etag=world.files[URL].etag)
    assert data == DATA[1234:]
    assert (remote.status, remote.start, remote.size_bytes) == (206, 1234, len(DATA))


def test_a_side_without_ranges_gives_the_same_file_from_the_start(
    airlock: Airlock, world: FakeAirlock
) -> None:
    world.files[URL].ranges = False
    remote, data = fetch(airlock, start=1234, etag=world.files[URL].etag)
    assert (remote.start, data) == (0, DATA)


def test_a_file_that_became_another_is_told(airlock: Airlock, world: FakeAirlock) -> None:
    before = world.files[URL].etag
    world.files[URL] = Remote(DATA[::-1])
    with pytest.raises(Changed):
        fetch(airlock, start=1234, etag=before)
    world.files[URL] = Remote(DATA[::-1], ranges=False)
    with pytest.raises(Changed):
        fetch(airlock, start=1234, etag=before)


def test_a_part_behind_the_end_is_a_change(airlock: Airlock, world: FakeAirlock) -> None:
    with pytest.raises(Changed):
        fetch(airlock, start=len(DATA), etag=world.files[URL].etag)


def test_a_size_that_is_not_said_is_none(airlock: Airlock, world: FakeAirlock) -> None:
    world.files[URL] = Remote(DATA, silent_about_size=True)
    remote, data = fetch(airlock)
    assert (remote.size_bytes, data) == (None, DATA)
    assert fetch(airlock, start=100, etag=world.files[URL].etag)[0].size_bytes is None


def test_a_broken_connection_gives_what_came_and_then_says_so(airlock: Airlock, world: FakeAirlock) -> None:
    world.files[URL].cuts = [2500]
    got = b""
    with airlock.open(URL) as remote, pytest.raises(UpstreamFailed) as caught:
        for piece in remote.chunks:
            got += piece
    assert got == DATA[:2500]
    assert (caught.value.http_status, caught.value.is_final) == (502, False)


@pytest.mark.parametrize(
    ("status", "is_final"), [(404, True), (403, True), (401, True), (410, True), (500, False), (503, False)]
)
def test_a_refusal_outside_is_an_error_that_tells_whether_to_ask_again(
    airlock: Airlock, world: FakeAirlock, status: int, is_final: bool
) -> None:
    world.files[URL].status = status
    with pytest.raises(UpstreamFailed) as caught:
        fetch(airlock)
    assert (caught.value.http_status, caught.value.is_final) == (502, is_final)


def test_a_destination_that_is_not_allowed_is_refused(airlock: Airlock, world: FakeAirlock) -> None:
    world.refused.add(URL)
    with pytest.raises(DestinationRefused) as caught:
        fetch(airlock)
    assert caught.value.http_status == 403


def test_a_closed_airlock_says_so(airlock: Airlock, world: FakeAirlock) -> None:
    assert airlock.status().enabled
    world.enabled = False
    status = airlock.status()
    assert (status.enabled, status.reason.endswith(".")) == (False, True)
    with pytest.raises(AirlockDisabled) as caught:
        fetch(airlock)
    assert (caught.value.http_status, caught.value.error_code) == (503, "airlock.disabled")


def test_only_strong_etags_promise_the_same_bytes() -> None:
    assert is_strong('"a"')
    assert not any(map(is_strong, ('W/"a"', "", None)))


# --- the client alone --------------------------------------------------------------------------------


def answering(monkeypatch: pytest.MonkeyPatch, status: int, headers: dict[str, str], *data: bytes) -> Airlock:
    """A client whose airlock gives this one answer."""
    transport = httpx.MockTransport(
        lambda _request: httpx.Response(status, headers=headers, stream=Pieces(iter(data)))
    )
    monkeypatch.setattr(peer, "transport_for", lambda _service: transport)
    return AirlockClient(caller="ui")


@pytest.mark.django_db(transaction=True)
def test_the_airlock_of_this_version_is_closed(peers: Any, cast: Any) -> None:
    client = AirlockClient(caller="ui")
    assert not client.status().enabled
    with pytest.raises(AirlockDisabled), client.open(URL):
        pass


def test_the_request_is_the_one_of_the_contract(world: FakeAirlock, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = AirlockListener(world)
    monkeypatch.setattr(peer, "transport_for", lambda _service: listener)
    fetch(AirlockClient(caller="ui"), start=5, etag=world.files[URL].etag, by=7)
    sent = listener.seen[0]
    assert (sent.method, sent.url.path) == ("POST", "/v1/proxy")
    assert sent.headers["Accept"] == "application/octet-stream"
    assert sent.headers["Secai-On-Behalf-Of"] == "7"
    assert httpx.Response(200, content=sent.content).json() == {
        "url": URL, "method": "GET",
        "headers": {"Accept-Encoding": "identity", "Range": "bytes=5-", "If-Range": world.files[URL].etag},
    }  # fmt: skip


def test_an_airlock_that_is_not_running_is_a_broken_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "transport_for", lambda _service: Nobody())
    client = AirlockClient(caller="ui")
    assert client.status().enabled is False
    with pytest.raises(UpstreamFailed), client.open(URL):
        pass


@pytest.mark.parametrize(
    ("headers", "is_final"),
    [
        ({}, False),
        ({UPSTREAM_STATUS: "206"}, False),
        ({UPSTREAM_STATUS: "206", "Content-Range": "bytes 7-9/10"}, False),
        ({UPSTREAM_STATUS: "206", "Content-Range": "bytes 0-5/10"}, False),
        ({UPSTREAM_STATUS: "206", "Content-Range": "lines 0-9/10"}, False),
        ({UPSTREAM_STATUS: "200", "Content-Encoding": "gzip"}, True),
        ({UPSTREAM_STATUS: "301", "Location": "https://elsewhere.example/"}, True),
        ({UPSTREAM_STATUS: "429"}, False),
    ],
)
def test_an_answer_that_is_no_file_is_refused(
    monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], is_final: bool
) -> None:
    client = answering(monkeypatch, 200, headers, b"data")
    with pytest.raises(UpstreamFailed) as caught, client.open(URL):
        pass
    assert caught.value.is_final is is_final


@pytest.mark.parametrize(
    ("status", "kind"), [(501, AirlockDisabled), (503, AirlockDisabled), (400, DestinationRefused),
                         (403, DestinationRefused), (502, UpstreamFailed), (504, UpstreamFailed),
                         (429, peer.PeerError)],
)  # fmt: skip
def test_a_refusal_of_the_airlock_is_one_of_the_contract(
    monkeypatch: pytest.MonkeyPatch, status: int, kind: type[Exception]
) -> None:
    client = answering(monkeypatch, status, {}, b'{"error": "No.", "code": "airlock.no"}')
    with pytest.raises(kind), client.open(URL):
        pass
