"""Rates are exact, whoever counts, and say when to come back."""

import multiprocessing
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connections

from secai_site.kernel.errors import TooMany
from secai_site.kernel.limits.models import Counter
from secai_site.kernel.limits.rates import count
from tests.support.cast import Cast, key_of
from tests.support.client import ListenerClient, browser, program, service

PROCESSES, EACH = 4, 200


def _count_up(start: Any) -> None:
    connections.close_all()
    start.wait()
    for _ in range(EACH):
        caches["limits"].incr("shared")
    connections.close_all()


@pytest.mark.django_db(transaction=True)
def test_four_processes_lose_no_count() -> None:
    caches["limits"].add("shared", 0, timeout=600)
    connections.close_all()
    fork = multiprocessing.get_context("fork")
    start = fork.Barrier(PROCESSES)
    workers = [fork.Process(target=_count_up, args=(start,)) for _ in range(PROCESSES)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * PROCESSES
    assert caches["limits"].get("shared") == PROCESSES * EACH


@pytest.mark.django_db
def test_exactly_the_allowed_number_passes(settings: Any) -> None:
    settings.RATES = {"write": "5/m"}
    for _ in range(5):
        count(None, rate="write", key="somebody")
    with pytest.raises(TooMany) as caught:
        count(None, rate="write", key="somebody")
    assert 1 <= (caught.value.retry_after or 0) <= 60
    count(None, rate="write", key="somebody else")


@pytest.mark.django_db
def test_a_counter_that_expired_starts_again() -> None:
    cache = caches["limits"]
    assert cache.add("a", 1, timeout=600)
    assert not cache.add("a", 1, timeout=600)
    assert cache.incr("a") == 2
    Counter.objects.update(expires_at=0)
    assert cache.get("a") is None
    with pytest.raises(ValueError, match="not found"):
        cache.incr("a")
    assert cache.add("a", 1, timeout=600)
    assert cache.get("a") == 1


@pytest.mark.django_db
@pytest.mark.parametrize("value", ["1", 1.5, None, [1]])
def test_only_integers_are_counted(value: Any) -> None:
    with pytest.raises(TypeError):
        caches["limits"].set("a", value)
    assert not Counter.objects.exists()


def test_a_route_answers_429_with_retry_after(cast: Cast, settings: Any) -> None:
    settings.RATES = settings.RATES | {"write": "2/m"}
    client = browser(cast.operator)
    assert [client.send("POST", "/api/vm/gpu", {}).status_code for _ in range(3)] == [200, 200, 429]
    limited = client.send("POST", "/api/vm/gpu", {})
    assert limited.json()["code"] == "rate.limited"
    assert int(limited["Retry-After"]) > 0
    assert client.get("/api/keys").status_code == 200


def test_one_persons_sessions_and_keys_share_a_rate(cast: Cast, settings: Any) -> None:
    settings.RATES = settings.RATES | {"write": "1/m"}
    assert browser(cast.operator).send("POST", "/api/vm/gpu", {}).status_code == 200
    assert browser(cast.operator).send("POST", "/api/vm/gpu", {}).status_code == 429
    key = key_of(cast.operator, "admin")
    assert program(key).send("POST", "/api/vm/gpu", {}).status_code == 429
    assert program(key, "agent").send("POST", "/v1/task", {"intent": "x"}).status_code == 429


def test_a_rate_is_not_got_around_by_spelling(cast: Cast, settings: Any) -> None:
    settings.RATES = settings.RATES | {"write": "1/m"}
    client = program(key_of(cast.operator, "admin"))
    assert client.send("POST", "/api/vm/gpu", {}).status_code == 200
    for path in ("/api/vm/gpu?x=1", "/api/vm/gpu", "/api/vm/%67pu"):
        answer = client.send("POST", path, {}, headers={"X-Forwarded-For": "9.9.9.9", "User-Agent": path})
        assert answer.status_code == 429


def test_people_behind_one_service_do_not_use_up_each_others_rate(cast: Cast, settings: Any) -> None:
    settings.RATES = settings.RATES | {"write": "1/m"}
    for person in (cast.operator, cast.member):
        client = service("ui", "agent", on_behalf_of=person)
        assert client.send("POST", "/v1/task", {"intent": "x"}).status_code == 501
        assert client.send("POST", "/v1/task", {"intent": "x"}).status_code == 429


@pytest.mark.django_db
def test_the_sign_in_rate_holds_for_a_name_from_anywhere() -> None:
    codes = []
    for n in range(11):
        client = ListenerClient(REMOTE_ADDR=f"10.0.0.{n}")
        client.get("/sign-in")
        token = client.cookies["secai_csrf"].value
        form = {"username": "MIA" if n % 2 else "mia", "password": "wrong"}
        codes.append(client.post("/sign-in", form, headers={"X-CSRFToken": token}).status_code)
    assert codes == [200] * 10 + [429]
