"""Downloads: every way in which a server, a disk, a person or a crash can come between, and the bytes at the end."""

import errno
import hashlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connections

from airlock.contract import Airlock
from registry.models import QuarantineItem
from secai_site.kernel import ports
from secai_site.kernel.auth.models import ApiKey, User
from secai_site.kernel.errors import Conflict, NotFound
from secai_site.kernel.http.peer import PeerDown
from secai_site.kernel.inference.echo import EchoEngine
from secai_site.kernel.jobs.models import Job
from secai_site.kernel.jobs.queue import LEASE
from secai_site.kernel.jobs.worker import JobContext, run_job
from tests.support.airlock import FakeAirlock, Remote
from tests.support.builders import promoted
from tests.support.cast import Cast, key_of
from tests.support.client import ListenerClient, browser, program
from ui.catalog import admission, downloads, jobs, partfile, transfer
from ui.catalog.models import Download, downloads_folder

pytestmark = pytest.mark.django_db(transaction=True)

URL = "https://huggingface.co/org/model/resolve/main/tiny.gguf"
# The promise is a second; a loaded machine gets more, for what is tested is that it ends before the download does.
PATIENCE_S = 10
DATA = bytes(range(256)) * 40
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def world(peers: EchoEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAirlock]:
    """The outside with one model in it; retries and ticks take hardly any time."""
    made = FakeAirlock()
    made.files[URL] = Remote(DATA)
    ports.bind(Airlock, lambda: made)
    monkeypatch.setattr(transfer, "RETRY_S", (0.01,) * 6)
    monkeypatch.setattr(transfer, "TICK_S", 0.02)
    monkeypatch.setattr(admission, "RETRY_S", (0.01, 0.01))
    yield made
    for remote in made.files.values():
        remote.cuts, remote.pause = [], 0.0
        if remote.gate is not None:
            remote.gate.set()
    for left in downloads_folder().iterdir():
        left.unlink()


@pytest.fixture
def olga(cast: Cast, world: FakeAirlock) -> ListenerClient:
    """The operator's browser."""
    return browser(cast.operator)


def asked(client: ListenerClient, name: str = "tiny", url: str = URL, **more: str) -> dict[str, Any]:
    """A download that was just asked for."""
    answer = client.send("POST", "/api/models/download", {"url": url, "name": name, **more})
    assert answer.status_code == 202, answer.content
    found: dict[str, Any] = answer.json()
    return found


def work() -> None:
    """Run the downloads that are queued, as the job worker would."""
    while (found := Job.objects.filter(kind="ui.download", state="queued").first()) is not None:
        run_as_worker(found)


def run_as_worker(found: Job) -> None:
    """One job from claim to end."""
    from django.utils import timezone

    Job.objects.filter(pk=found.pk).update(
        state="running", leased_by="test", lease_until=timezone.now() + LEASE, attempts=1
    )
    found.refresh_from_db()
    run_job("test", found, JobContext(found, threading.Event()))


class Working:
    """Downloads that run in a thread of their own until the block ends."""

    def __enter__(self) -> "Working":
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        try:
            work()
        finally:
            connections.close_all()


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait for `condition`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def row() -> Download:
    """The one download."""
    return Download.objects.get()


def stands() -> tuple[str, str]:
    """How the one download stands, and the code of the reason."""
    return row().status, row().code


def arrived() -> QuarantineItem:
    """What lies in quarantine, with exactly the bytes from outside."""
    item = QuarantineItem.objects.get()
    assert item.file.read_bytes() == DATA
    return item


def nothing_arrived() -> None:
    assert not QuarantineItem.objects.exists()
    assert os.listdir(Path(django_settings.QUARANTINE_DIR) / "incoming") == []


# --- from the question to quarantine -----------------------------------------------------------------


def test_a_download_is_queued_and_shown(olga: ListenerClient, audited: Any) -> None:
    made = asked(olga, sha256=DIGEST)
    assert set(made) == {
        "id", "name", "url", "host", "status", "received_bytes", "size_bytes", "rate_bytes_per_s", "seconds_left",
        "reason", "code", "sha256", "item_id", "created_at",
    }  # fmt: skip
    assert (made["name"], made["url"], made["host"]) == ("tiny", URL, "huggingface.co")
    assert (made["status"], made["received_bytes"], made["size_bytes"]) == ("queued", 0, None)
    assert olga.get("/api/models/downloads").json() == [made]
    listed = olga.get("/api/models").json()
    assert [(m["name"], m["status"], m["source"], m["id"]) for m in listed] == [
        ("tiny", "downloading", URL, None)
    ]
    assert listed[0]["download"] == made
    assert listed[0].keys() == _row_of_quarantine(olga).keys()
    assert audited("catalog.download:queued")[0]["target"] == f"download:{made['id']}"


def _row_of_quarantine(client: ListenerClient) -> dict[str, Any]:
    from tests.support.builders import held

    held("waits", b"other")
    found: dict[str, Any] = next(m for m in client.get("/api/models").json() if m["name"] == "waits")
    return found


def test_it_goes_into_quarantine_when_all_of_it_is_here(
    olga: ListenerClient, world: FakeAirlock, audited: Any, cast: Cast
) -> None:
    made = asked(olga, sha256=DIGEST)
    work()
    item = arrived()
    assert (item.name, item.filename, item.source, item.pin) == ("tiny", "tiny.gguf", URL, DIGEST)
    done = olga.get("/api/models/downloads").json()[0]
    assert (done["status"], done["item_id"], done["received_bytes"]) == ("done", str(item.pk), len(DATA))
    assert [m["status"] for m in olga.get("/api/models").json()] == ["waiting"]
    assert list(downloads_folder().iterdir()) == []
    assert audited("catalog.download:done")[0]["target"] == f"download:{made['id']}"
    assert audited("registry.file:submitted")[0]["actor"].endswith(f"for user:{cast.operator.pk}")
    assert olga.send("DELETE", f"/api/models/downloads/{made['id']}").json()["status"] == "dismissed"
    assert not Download.objects.exists()
    assert audited("catalog.download:dismissed")
    assert QuarantineItem.objects.exists()


def test_a_query_is_for_fetching_alone(olga: ListenerClient, world: FakeAirlock) -> None:
    signed = f"{URL}?token=secret"
    world.files[signed] = Remote(DATA)
    made = asked(olga, url=signed, sha256=DIGEST.upper())
    assert (made["url"], made["sha256"]) == (URL, DIGEST)
    assert b"secret" not in olga.get("/api/models/downloads").content + olga.get("/api/models").content
    work()
    assert [request[0] for request in world.requests] == [signed]
    item = arrived()
    assert (item.source, item.pin) == (URL, DIGEST)
    assert b"secret" not in olga.get("/api/models/downloads").content + olga.get("/api/models").content


def test_a_zip_is_handed_over_with_its_pin(
    olga: ListenerClient, world: FakeAirlock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from registry.client import RegistryClient

    real, pins = RegistryClient.submit, list[str]()

    def submit(self: RegistryClient, **options: Any) -> Any:
        pins.append(options["pin"])
        return real(self, **options)

    monkeypatch.setattr(RegistryClient, "submit", submit)
    url = URL.replace(".gguf", ".zip")
    world.files[url] = Remote(DATA)
    asked(olga, url=url, sha256=DIGEST)
    work()
    assert pins == [DIGEST]
    arrived()


def test_a_file_whose_size_is_not_said_arrives_too(olga: ListenerClient, world: FakeAirlock) -> None:
    world.files[URL].silent_about_size = True
    asked(olga)
    work()
    arrived()
    assert row().size_bytes == len(DATA)


# --- what is refused at once -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {}, {"url": URL}, {"name": "tiny"}, {"url": 7, "name": "tiny"}, {"url": URL, "name": 7},
        {"url": "http://huggingface.co/a", "name": "t"}, {"url": "ftp://x/a", "name": "t"},
        {"url": "https://a b/c", "name": "t"}, {"url": "https://ä.example/c", "name": "t"},
        {"url": "https://x/\n", "name": "t"}, {"url": "https://", "name": "t"},
        {"url": "https://x/" + "a" * 491, "name": "t"}, {"url": "https://x/?" + "a" * 2000, "name": "t"},
        {"url": "HTTPS://x/a", "name": "t"},
        {"url": URL, "name": ""}, {"url": URL, "name": "a/b"}, {"url": URL, "name": ".."}, {"url": URL, "name": "-a"},
        {"url": URL, "name": "a" * 129}, {"url": URL, "name": "мodel"}, {"url": URL, "name": "a\n"},
        {"url": URL, "name": "t", "sha256": "x"}, {"url": URL, "name": "t", "sha256": "G" * 64},
        {"url": URL, "name": "t", "sha256": None}, {"url": URL, "name": "t", "x": 1}, [],
    ],
)  # fmt: skip
def test_a_malformed_question_is_refused(olga: ListenerClient, body: Any) -> None:
    answer = olga.send("POST", "/api/models/download", body)
    assert answer.status_code == 400, answer.content
    assert not Download.objects.exists()


def test_an_address_that_could_not_be_kept_is_refused_before_it_is_fetched(olga: ListenerClient) -> None:
    fits = URL + "/" + "a" * (499 - len(URL))
    answer = olga.send("POST", "/api/models/download", {"url": fits + "a", "name": "tiny"})
    assert (answer.status_code, "500 characters" in answer.json()["error"]) == (400, True)
    assert not Download.objects.exists()
    asked(olga, url=f"{fits}?{'t' * 1000}")


def test_a_name_that_is_taken_is_refused(olga: ListenerClient) -> None:
    promoted("Big")
    asked(olga)
    for name in ("big", "BIG", "tiny", "Tiny"):
        answer = olga.send("POST", "/api/models/download", {"url": URL, "name": name})
        assert (answer.status_code, answer.json()["code"]) == (400, "model.name_taken")
    assert Download.objects.count() == 1


@pytest.mark.parametrize(
    "url", ["https://evil.example/m.gguf", "https://huggingface.co.evil.example/m", "https://127.0.0.1/m", "https://[/m",
            "https://huggingface.co@evil.example/m", "https://huggingface.co/../m"],
)  # fmt: skip
def test_a_source_that_the_policy_does_not_name_is_refused(
    olga: ListenerClient, url: str, audited: Any
) -> None:
    answer = olga.send("POST", "/api/models/download", {"url": url, "name": "tiny"})
    assert answer.status_code == 403, answer.content
    assert answer.json()["code"].startswith("source.")
    assert answer.json()["error"].endswith(".")
    assert audited("http.request:refused")[-1]["outcome"] == "refused"
    assert not Download.objects.exists()


def test_a_closed_airlock_is_503(olga: ListenerClient, world: FakeAirlock) -> None:
    world.enabled = False
    answer = olga.send("POST", "/api/models/download", {"url": URL, "name": "tiny"})
    assert (answer.status_code, answer.json()["code"]) == (503, "airlock.disabled")
    assert not Download.objects.exists()


def test_a_full_disk_is_507(olga: ListenerClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "free_bytes", lambda: 1000)
    answer = olga.send("POST", "/api/models/download", {"url": URL, "name": "tiny"})
    assert (answer.status_code, answer.json()["code"]) == (507, "storage.full")
    assert not Download.objects.exists()


def test_a_member_sees_downloads_and_changes_none(olga: ListenerClient, cast: Cast) -> None:
    made = asked(olga)
    mia = browser(cast.member)
    assert mia.get("/api/models/downloads").json() == [made]
    path = f"/api/models/downloads/{made['id']}"
    for method, where in (
        ("POST", "/api/models/download"), ("POST", f"{path}/pause"), ("POST", f"{path}/resume"),
        ("POST", f"{path}/cancel"), ("DELETE", path),
    ):  # fmt: skip
        answer = mia.send(method, where, {})
        assert (answer.status_code, answer.json()["code"]) == (403, "auth.scope"), where
    assert stands() == ("queued", "")


# --- servers that let one down -----------------------------------------------------------------------


def test_a_broken_connection_is_taken_up_where_it_broke(olga: ListenerClient, world: FakeAirlock) -> None:
    world.files[URL].cuts = [2500, 7777]
    asked(olga, sha256=DIGEST)
    work()
    arrived()
    etag = world.files[URL].etag
    assert world.requests == [(URL, 0, None), (URL, 2500, etag), (URL, 7777, etag)]


def test_a_server_without_ranges_gives_it_once_more(olga: ListenerClient, world: FakeAirlock) -> None:
    world.files[URL].cuts = [2500]
    world.files[URL].ranges = False
    asked(olga)
    work()
    arrived()


def test_without_an_etag_nothing_is_patched_together(olga: ListenerClient, world: FakeAirlock) -> None:
    world.files[URL].cuts = [2500]
    world.files[URL].tagged = False
    asked(olga)
    work()
    arrived()
    assert world.requests == [(URL, 0, None), (URL, 0, None)]


def test_a_connection_that_keeps_breaking_is_given_up_and_can_be_taken_up_again(
    olga: ListenerClient, world: FakeAirlock, audited: Any
) -> None:
    world.files[URL].cuts = [100 * n for n in range(1, 8)]
    made = asked(olga)
    work()
    assert stands() == ("failed", "airlock.upstream")
    assert row().received_bytes == 700
    listed = olga.get("/api/models").json()[0]
    assert (listed["status"], listed["reason"]) == ("download_failed", "The connection broke off.")
    assert audited("catalog.download:failed")[0]["outcome"] == "failed"
    nothing_arrived()
    assert olga.send("POST", f"/api/models/downloads/{made['id']}/resume", {}).json()["status"] == "queued"
    work()
    arrived()


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (403, 1), (500, 7), (503, 7)])
def test_a_refusal_outside_ends_it_at_once_or_after_some_tries(
    olga: ListenerClient, world: FakeAirlock, status: int, requests: int
) -> None:
    world.files[URL].status = status
    asked(olga)
    work()
    assert (stands(), len(world.requests)) == (("failed", "airlock.upstream"), requests)
    nothing_arrived()


def test_more_bytes_than_were_announced_are_refused(olga: ListenerClient, world: FakeAirlock) -> None:
    world.files[URL].says = 5000
    asked(olga)
    work()
    assert stands() == ("failed", "download.size")
    assert row().part.stat().st_size == 0
    nothing_arrived()


def test_fewer_bytes_than_were_announced_are_refused(olga: ListenerClient, world: FakeAirlock) -> None:
    world.files[URL].says = len(DATA) + 1
    asked(olga)
    work()
    assert stands()[0] == "failed"
    nothing_arrived()


def test_a_file_that_changes_meanwhile_begins_again_once(olga: ListenerClient, world: FakeAirlock) -> None:
    other = Remote(DATA[::-1] + b"more", cuts=[4000])
    world.files[URL] = other
    asked(olga)
    said: list[str] = []

    def change(url: str, start: int, etag: str | None) -> None:
        if start == 4000:
            world.files[URL] = Remote(DATA)
        said.append(row().reason)

    watch(world, change)
    work()
    arrived()
    assert "began again" in said[-1]
    assert row().restarts == 1


def watch(world: FakeAirlock, see: Callable[[str, int, str | None], None]) -> None:
    """Call `see` before each request reaches the world."""
    real = world.open

    def opened(url: str, *, start: int = 0, etag: str | None = None, by: int | None = None) -> Any:
        see(url, start, etag)
        connections.close_all()
        return real(url, start=start, etag=etag, by=by)

    ports.bind(Airlock, lambda: type("Watched", (), {"open": staticmethod(opened), "status": world.status})())


def test_a_file_that_changes_again_and_again_is_given_up(olga: ListenerClient, world: FakeAirlock) -> None:
    count = iter(range(100))

    def change(_url: str, _start: int, _etag: str | None) -> None:
        world.files[URL] = Remote(DATA[next(count) :], cuts=[1000])

    watch(world, change)
    asked(olga)
    work()
    assert stands() == ("failed", "download.changed")
    nothing_arrived()


def test_a_pinned_size_holds_when_the_etag_lies(olga: ListenerClient, world: FakeAirlock) -> None:
    class Liar(Remote):
        @property
        def etag(self) -> str:
            return '"always"'

    world.files[URL] = Liar(DATA[:6000], cuts=[2500])
    watch(world, lambda _url, start, _etag: world.files.update({URL: Liar(DATA)}) if start else None)
    asked(olga)
    work()
    arrived()
    assert row().restarts == 1


def test_another_file_than_was_asked_for_is_refused(olga: ListenerClient, world: FakeAirlock) -> None:
    asked(olga, sha256="0" * 64)
    work()
    assert stands() == ("failed", "download.digest")
    assert DIGEST in row().reason
    assert row().part.stat().st_size == 0
    nothing_arrived()


def test_an_airlock_that_is_closed_meanwhile_stops_it(olga: ListenerClient, world: FakeAirlock) -> None:
    world.files[URL].gate = gate = threading.Event()
    made = asked(olga)
    with Working():
        until(lambda: world.requests != [])
        world.enabled = False
        gate.set()
    assert stands() == ("failed", "airlock.disabled")
    world.enabled = True
    olga.send("POST", f"/api/models/downloads/{made['id']}/resume", {})
    work()
    arrived()


# --- people ------------------------------------------------------------------------------------------


def halfway(world: FakeAirlock) -> None:
    """Wait until some bytes are here and no more come."""
    until(lambda: row().received_bytes >= 3000)
    world.files[URL].gate = threading.Event()


def test_a_pause_takes_effect_while_nothing_comes_and_keeps_what_came(
    olga: ListenerClient, world: FakeAirlock, audited: Any
) -> None:
    world.files[URL].pause = 0.02
    made = asked(olga, sha256=DIGEST)
    path = f"/api/models/downloads/{made['id']}"
    with Working():
        halfway(world)
        began = time.monotonic()
        answer = olga.send("POST", f"{path}/pause", {})
        assert (answer.status_code, answer.json()["status"]) == (200, "paused")
    assert time.monotonic() - began < PATIENCE_S
    kept = row().received_bytes
    assert row().part.stat().st_size >= kept >= 3000
    assert [m["status"] for m in olga.get("/api/models").json()] == ["paused"]
    world.files[URL].pause, gate = 0, world.files[URL].gate
    assert gate is not None
    gate.set()
    assert olga.send("POST", f"{path}/resume", {}).json()["status"] == "queued"
    work()
    arrived()
    assert world.requests[-1] == (URL, kept, world.files[URL].etag)
    assert [len(audited(f"catalog.download:{what}")) for what in ("paused", "queued", "running", "done")] == [
        1, 2, 2, 1,
    ]  # fmt: skip


def test_cancelling_ends_it_and_throws_the_bytes_away(olga: ListenerClient, world: FakeAirlock) -> None:
    world.files[URL].pause = 0.02
    made = asked(olga)
    path = f"/api/models/downloads/{made['id']}"
    with Working():
        halfway(world)
        began = time.monotonic()
        assert olga.send("POST", f"{path}/cancel", {}).json()["status"] == "cancelled"
    assert time.monotonic() - began < PATIENCE_S
    assert list(downloads_folder().iterdir()) == []
    assert olga.get("/api/models").json() == []
    nothing_arrived()
    assert olga.send("POST", f"{path}/resume", {}).json()["code"] == "download.state"
    assert olga.send("DELETE", path).status_code == 200


def test_rate_and_time_left_are_told(olga: ListenerClient, world: FakeAirlock) -> None:
    world.files[URL].pause = 0.05
    made = asked(olga)
    with Working():
        until(lambda: row().rate_bytes_per_s > 0)
        told = olga.get("/api/models/downloads").json()[0]
        assert told["size_bytes"] == len(DATA)
        assert told["seconds_left"] == round((len(DATA) - told["received_bytes"]) / told["rate_bytes_per_s"])
        olga.send("POST", f"/api/models/downloads/{made['id']}/cancel", {})


def test_what_does_not_fit_its_state_is_409(olga: ListenerClient) -> None:
    made = asked(olga)
    path = f"/api/models/downloads/{made['id']}"
    assert olga.send("POST", f"{path}/resume", {}).status_code == 409
    assert olga.send("DELETE", path).status_code == 409
    assert olga.send("POST", f"{path}/pause", {}).status_code == 200
    assert olga.send("POST", f"{path}/pause", {}).status_code == 409
    work()
    assert stands() == ("paused", "")
    for method, where in (("POST", "/pause"), ("POST", "/resume"), ("POST", "/cancel"), ("DELETE", "")):
        strange = f"/api/models/downloads/00000000-0000-4000-8000-000000000000{where}"
        assert olga.send(method, strange, {}).status_code == 404


def deactivated(cast: Cast) -> None:
    User.objects.filter(pk=cast.operator.pk).update(is_active=False)


def demoted(cast: Cast) -> None:
    User.objects.filter(pk=cast.operator.pk).update(role="member")


def new_password(cast: Cast) -> None:
    cast.operator.set_password("another horse battery staple")
    cast.operator.save()


def key_revoked(_cast: Cast) -> None:
    from django.utils import timezone

    ApiKey.objects.update(revoked_at=timezone.now())


@pytest.mark.parametrize(
    ("with_key", "revoke"),
    [(False, deactivated), (False, demoted), (False, new_password), (True, key_revoked), (True, deactivated)],
)
def test_a_download_ends_with_the_right_to_it(
    cast: Cast, world: FakeAirlock, with_key: bool, revoke: Callable[[Cast], None]
) -> None:
    client = program(key_of(cast.operator, "models")) if with_key else browser(cast.operator)
    world.files[URL].pause = 0.02
    asked(client)
    with Working():
        halfway(world)
        began = time.monotonic()
        revoke(cast)
    assert time.monotonic() - began < PATIENCE_S
    assert stands() == ("failed", "download.revoked")
    nothing_arrived()


def test_a_session_may_end_while_its_download_goes_on(olga: ListenerClient, world: FakeAirlock) -> None:
    from secai_site.kernel.auth.models import Session

    asked(olga)
    Session.objects.all().delete()
    work()
    arrived()


# --- disks -------------------------------------------------------------------------------------------


def test_a_file_that_cannot_fit_is_refused_before_it_comes(
    olga: ListenerClient, world: FakeAirlock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked(olga)
    monkeypatch.setattr(downloads, "free_bytes", lambda: downloads.SPARE_BYTES + len(DATA) - 1)
    work()
    assert stands() == ("failed", "storage.full")
    assert row().part.stat().st_size == 0


def test_a_disk_that_fills_up_keeps_what_came(olga: ListenerClient, world: FakeAirlock) -> None:
    made, real = asked(olga), os.pwrite

    def pwrite(descriptor: int, data: Any, offset: int) -> int:
        if offset >= 5000:
            raise OSError(errno.ENOSPC, "full")
        return real(descriptor, data, offset)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pwrite", pwrite)
        work()
    assert stands() == ("failed", "storage.full")
    assert row().received_bytes == row().part.stat().st_size == 5000
    olga.send("POST", f"/api/models/downloads/{made['id']}/resume", {})
    work()
    arrived()


# --- the operator's policy ---------------------------------------------------------------------------


def policy_says(monkeypatch: pytest.MonkeyPatch, **decision: Any) -> None:
    """What the registry answers from here on when it is asked whether a model may come."""
    from registry.client import RegistryClient

    said = {"allowed": True, "code": "source.download", "reason": "", **decision}
    monkeypatch.setattr(RegistryClient, "admit", lambda _self, _source: said)


@pytest.mark.parametrize("silent", [False, True])
def test_a_model_larger_than_the_policy_allows_is_not_fetched(
    olga: ListenerClient, world: FakeAirlock, monkeypatch: pytest.MonkeyPatch, silent: bool
) -> None:
    policy_says(monkeypatch, max_size_bytes=len(DATA) - 1)
    world.files[URL].silent_about_size = silent
    asked(olga)
    work()
    assert stands() == ("failed", "policy.size")
    assert f"{len(DATA) - 1:,} bytes" in row().reason
    assert row().part.stat().st_size == 0
    nothing_arrived()


def test_a_model_as_large_as_the_policy_allows_arrives(
    olga: ListenerClient, world: FakeAirlock, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy_says(monkeypatch, max_size_bytes=len(DATA))
    asked(olga)
    work()
    arrived()


def test_a_source_that_the_policy_forbids_meanwhile_is_not_fetched(
    olga: ListenerClient, world: FakeAirlock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked(olga)
    policy_says(monkeypatch, allowed=False, code="source.unlisted", reason="It is not on the list.")
    work()
    assert (stands(), row().reason) == (("failed", "source.unlisted"), "It is not on the list.")
    assert world.requests == []


# --- crashes -----------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for a process that ends here; nothing of ours may catch it."""


def dies_in(monkeypatch: pytest.MonkeyPatch, place: Any, name: str, *, after: bool) -> None:
    """The process ends when this function is called, before or after it has done its work."""
    real = getattr(place, name)

    def fatal(*arguments: Any, **options: Any) -> Any:
        if after:
            real(*arguments, **options)
        raise Killed

    monkeypatch.setattr(place, name, fatal)


def begin_again() -> None:
    """What happens at the next start: the lease has run out, the job is claimed again, or given a new one."""
    Job.objects.filter(kind="ui.download", state="running").update(state="failed")
    jobs.keep_order(None)
    work()


CRASHES: dict[str, tuple[Any, str, bool]] = {
    "before the first byte": (transfer, "_fetch_once", False),
    "after the last byte": (transfer, "_fetch_once", True),
    "before the digest is written down": (transfer, "_require_digest", False),
    "after the digest is written down": (transfer, "_require_digest", True),
    "before the file moves": (os, "rename", False),
    "after the file moved": (os, "rename", True),
    "before it is told that it is done": (downloads, "complete", False),
    "after it is done": (downloads, "complete", True),
}


@pytest.mark.parametrize("where", CRASHES)
def test_a_crash_anywhere_loses_nothing_and_doubles_nothing(
    olga: ListenerClient, world: FakeAirlock, where: str
) -> None:
    place, name, after = CRASHES[where]
    asked(olga, sha256=DIGEST)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        dies_in(patch, place, name, after=after)
        work()
    begin_again()
    assert stands() == ("done", "")
    item = arrived()
    assert row().item_id == str(item.pk)
    assert list(downloads_folder().iterdir()) == []
    assert os.listdir(Path(django_settings.QUARANTINE_DIR) / "incoming") == []


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_while_the_registry_takes_it_in_loses_nothing(
    olga: ListenerClient, world: FakeAirlock, after: bool
) -> None:
    from registry.client import RegistryClient

    asked(olga)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        dies_in(patch, RegistryClient, "submit", after=after)
        work()
    begin_again()
    assert stands() == ("done", "")
    arrived()


def test_a_file_that_was_promoted_meanwhile_is_found(olga: ListenerClient, world: FakeAirlock) -> None:
    from registry.models import Artifact

    asked(olga)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        dies_in(patch, downloads, "complete", after=False)
        work()
    QuarantineItem.objects.all().delete()
    promoted("tiny")
    Artifact.objects.update(source=URL)
    begin_again()
    assert (stands(), row().item_id) == (("done", ""), "")


def test_a_file_that_is_nowhere_is_fetched_again_when_asked(olga: ListenerClient, world: FakeAirlock) -> None:
    made = asked(olga)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        dies_in(patch, downloads, "complete", after=False)
        work()
    QuarantineItem.objects.all().delete()
    begin_again()
    assert stands() == ("failed", "download.lost")
    olga.send("POST", f"/api/models/downloads/{made['id']}/resume", {})
    work()
    arrived()


@pytest.mark.parametrize("wait", [0.0, 0.1, 0.2, 0.3])
def test_a_killed_process_is_gone_on_from_where_it_was(
    olga: ListenerClient, world: FakeAirlock, wait: float
) -> None:
    world.files[URL].pause = 0.1
    asked(olga, sha256=DIGEST)
    connections.close_all()
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    until(lambda: row().received_bytes >= 1000)
    time.sleep(wait)
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    kept = row().received_bytes
    world.files[URL].pause = 0
    begin_again()
    arrived()
    assert stands() == ("done", "")
    assert world.requests == [(URL, kept, world.files[URL].etag)]


def test_bytes_that_were_not_flushed_are_not_trusted(olga: ListenerClient, world: FakeAirlock) -> None:
    world.files[URL].cuts = [100 * n for n in range(1, 8)]
    made = asked(olga)
    work()
    with row().part.open("ab") as file:
        file.write(b"\0" * 5000)
    olga.send("POST", f"/api/models/downloads/{made['id']}/resume", {})
    work()
    arrived()


def test_bytes_that_are_gone_come_again(olga: ListenerClient, world: FakeAirlock) -> None:
    world.files[URL].cuts = [1000 * n for n in range(1, 8)]
    made = asked(olga)
    work()
    os.truncate(row().part, 1500)
    olga.send("POST", f"/api/models/downloads/{made['id']}/resume", {})
    work()
    arrived()
    assert world.requests[-1][1] == 1500


def test_a_run_whose_turn_is_over_writes_nothing_more(olga: ListenerClient) -> None:
    made = asked(olga)
    old, new = downloads.begin(made["id"]), downloads.begin(made["id"])
    assert old is not None
    assert new is not None
    assert downloads.keep(old, received_bytes=99) is False
    assert downloads.keep(new, received_bytes=7) is True
    assert row().received_bytes == 7
    with pytest.raises(Conflict):
        downloads.fail(download=old, reason="x", code="y")
    assert stands()[0] == "running"


def test_two_runs_never_write_one_file(tmp_path: Path) -> None:
    first, second = partfile.PartFile(tmp_path / "a"), partfile.PartFile(tmp_path / "a")
    assert first.lock() is True
    assert second.lock() is False
    first.close()
    assert second.lock() is True
    second.close()


# --- on the way into quarantine ----------------------------------------------------------------------


def test_a_name_that_was_taken_meanwhile_keeps_the_bytes(olga: ListenerClient, world: FakeAirlock) -> None:
    made = asked(olga)
    model = promoted("tiny")
    work()
    assert stands() == ("failed", "model.name_taken")
    assert row().part.read_bytes() == DATA
    nothing_arrived()
    model.delete()
    requests = len(world.requests)
    olga.send("POST", f"/api/models/downloads/{made['id']}/resume", {})
    work()
    arrived()
    assert len(world.requests) == requests


def test_a_name_that_was_taken_meanwhile_can_be_changed(olga: ListenerClient, world: FakeAirlock) -> None:
    made = asked(olga)
    promoted("tiny")
    work()
    assert stands() == ("failed", "model.name_taken")
    path = f"/api/models/downloads/{made['id']}/resume"
    for name in ("TINY", "a/b", 7):
        assert olga.send("POST", path, {"name": name}).status_code == 400
    assert stands()[0] == "failed"
    assert olga.send("POST", path, {"name": "other"}).json()["name"] == "other"
    requests = len(world.requests)
    work()
    assert (arrived().name, len(world.requests)) == ("other", requests)


def test_a_registry_that_is_starting_is_waited_for(
    olga: ListenerClient, world: FakeAirlock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from registry.client import RegistryClient

    real, tries = RegistryClient.submit, iter([True, False])

    def submit(self: RegistryClient, **options: Any) -> Any:
        if next(tries):
            raise PeerDown("The registry service is not answering.")
        return real(self, **options)

    monkeypatch.setattr(RegistryClient, "submit", submit)
    asked(olga)
    work()
    arrived()


def test_it_cannot_be_paused_once_all_has_arrived(olga: ListenerClient, world: FakeAirlock) -> None:
    made = asked(olga)
    Download.objects.update(status="running", digest=DIGEST)
    answer = olga.send("POST", f"/api/models/downloads/{made['id']}/pause", {})
    assert (answer.status_code, answer.json()["code"]) == (409, "download.state")


def test_cancelled_in_the_last_moment_it_leaves_quarantine_again(
    olga: ListenerClient, world: FakeAirlock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from registry.client import RegistryClient

    made, real = asked(olga), RegistryClient.submit

    def submit(self: RegistryClient, **options: Any) -> Any:
        item = real(self, **options)
        olga.send("POST", f"/api/models/downloads/{made['id']}/cancel", {})
        return item

    monkeypatch.setattr(RegistryClient, "submit", submit)
    work()
    assert stands() == ("cancelled", "")
    nothing_arrived()


@pytest.fixture
def cancelled_during_a_scan(
    olga: ListenerClient, world: FakeAirlock, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """A download that was cancelled while it was handed over, and whose scan has begun."""
    from registry.client import RegistryClient

    made, real = asked(olga), RegistryClient.submit

    def submit(self: RegistryClient, **options: Any) -> Any:
        item = real(self, **options)
        QuarantineItem.objects.update(status="scanning")
        olga.send("POST", f"/api/models/downloads/{made['id']}/cancel", {})
        return item

    monkeypatch.setattr(RegistryClient, "submit", submit)
    work()
    return made


def test_a_file_cancelled_during_its_scan_leaves_quarantine_after_it(
    olga: ListenerClient, cancelled_during_a_scan: dict[str, Any]
) -> None:
    jobs.keep_order(None)
    item = QuarantineItem.objects.get()
    assert (stands()[0], row().item_id) == ("cancelled", str(item.pk))
    path = f"/api/models/downloads/{cancelled_during_a_scan['id']}"
    answer = olga.send("DELETE", path)
    assert (answer.status_code, answer.json()["code"]) == (409, "download.state")
    QuarantineItem.objects.update(status="held")
    jobs.keep_order(None)
    assert (stands(), row().item_id, row().reason) == (("cancelled", ""), "", "")
    nothing_arrived()
    assert olga.send("DELETE", path).status_code == 200


def test_a_file_promoted_before_it_could_be_taken_back_is_owned_up_to(
    olga: ListenerClient, cancelled_during_a_scan: dict[str, Any]
) -> None:
    from registry.models import Artifact

    QuarantineItem.objects.update(status="promoted")
    promoted("tiny")
    Artifact.objects.update(source=URL)
    jobs.keep_order(None)
    told = olga.get("/api/models/downloads").json()[0]
    assert (told["status"], told["item_id"]) == ("cancelled", None)
    assert "is a model of this box now" in told["reason"]
    assert Artifact.objects.exists()


# --- keeping order -----------------------------------------------------------------------------------


def test_a_lost_job_is_replaced_and_a_paused_download_left_alone(
    olga: ListenerClient, world: FakeAirlock
) -> None:
    asked(olga)
    Job.objects.all().delete()
    assert jobs.keep_order(None) == {"taken_up": 1, "removed": 0}
    assert jobs.keep_order(None) == {"taken_up": 0, "removed": 0}
    Job.objects.all().delete()
    Download.objects.update(status="paused")
    assert jobs.keep_order(None) == {"taken_up": 0, "removed": 0}


def test_old_bytes_are_removed_only_when_no_download_owns_them(
    olga: ListenerClient, world: FakeAirlock
) -> None:
    asked(olga)
    Download.objects.update(status="paused")
    folder = downloads_folder()
    (folder / "somebody-else.part").write_bytes(b"x")
    (folder / "fresh.part").write_bytes(b"x")
    row().part.write_bytes(b"x" * 10)
    for name in ("somebody-else.part", row().part.name):
        os.utime(folder / name, (1, 1))
    jobs.keep_order(None)
    assert {entry.name for entry in folder.iterdir()} == {"fresh.part", row().part.name}


def test_an_unknown_download_is_not_found(olga: ListenerClient) -> None:
    with pytest.raises(NotFound):
        downloads.find("00000000-0000-4000-8000-000000000000")
