"""What every test may ask for."""

import shutil
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import django_ratelimit.core
import pytest
from asgiref.sync import SyncToAsync
from django.conf import settings as django_settings
from django.db import connections

from registry.client import RegistryClient
from registry.contract import Registry
from secai_site.kernel import ports
from secai_site.kernel.audit.models import AuditEvent
from secai_site.kernel.auth import tokens
from secai_site.kernel.http import peer
from secai_site.kernel.inference.echo import EchoEngine
from secai_site.kernel.inference.protocol import Engine
from secai_site.listeners import CALLERS
from tests.support import cast as casting
from tests.support.cast import Cast
from tests.support.client import ListenerClient, browser, program
from tests.support.peers import InProcess
from ui.chat.generation import generations


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """On SQLite the tests get a file, as users have, so that threads and processes meet in it.

    Threads close their connection after each use, so that none is left open when a test's event loop ends.
    """
    database = django_settings.DATABASES["default"]
    database["CONN_MAX_AGE"] = 0
    if "sqlite" in database["ENGINE"]:
        database.setdefault("TEST", {})["NAME"] = str(Path(django_settings.SECAI_HOME) / "test.sqlite3")


@pytest.fixture(autouse=True)
def clean_box() -> Iterator[None]:
    """Each test finds an empty box with its service tokens."""
    tokens.ensure(CALLERS)
    yield
    Path(django_settings.AUDIT_HEAD).unlink(missing_ok=True)
    shutil.rmtree(django_settings.MODELS_DIR, ignore_errors=True)
    shutil.rmtree(django_settings.QUARANTINE_DIR, ignore_errors=True)
    (Path(django_settings.QUARANTINE_DIR) / "incoming").mkdir(mode=0o700, parents=True)
    Path(django_settings.MODELS_DIR).mkdir(mode=0o700)


@pytest.fixture(autouse=True)
def no_connection_left_open() -> Iterator[None]:
    """The thread in which asynchronous tests touch the database closes its connection after each of them."""
    yield
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()


@pytest.fixture(autouse=True)
def one_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rates are counted in windows of a minute; none ends in the middle of a test."""
    end = int(time.time()) + 30
    monkeypatch.setattr(django_ratelimit.core, "_get_window", lambda _value, _period: end)


@pytest.fixture
def cast(request: pytest.FixtureRequest) -> Cast:
    """The operator, a member, a stranger."""
    if not {"db", "transactional_db"} & set(request.fixturenames):
        request.getfixturevalue("db")
    return casting.assemble()


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> EchoEngine:
    """A fresh echo engine behind the contract."""
    fresh = EchoEngine()
    monkeypatch.setattr(ports, "_factories", ports._factories.copy())
    ports.bind(Engine, lambda: fresh)
    return fresh


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch, engine: EchoEngine) -> EchoEngine:
    """All services answer each other in this process; gives the engine behind them."""
    monkeypatch.setattr(peer, "transport_for", InProcess)
    client = RegistryClient(caller="ui")
    ports.bind(Registry, lambda: client)
    monkeypatch.setattr(generations, "_running", {})
    return engine


@pytest.fixture
def operator(cast: Cast) -> ListenerClient:
    """The operator's browser at the ui listener."""
    return browser(cast.operator)


@pytest.fixture
def admin_program(cast: Cast) -> ListenerClient:
    """A program with the operator's `admin` key, at the ui listener."""
    return program(casting.key_of(cast.operator, "admin"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skipped test is a failed one: what it needs is set up by `make test`."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped: {call.excinfo.value if call.excinfo else ''}"
    return report


def events(action: str) -> list[dict[str, Any]]:
    """The audit events of one action, oldest first."""
    found = AuditEvent.objects.filter(action=action).order_by("sequence")
    return [dict(row) for row in found.values("actor", "target", "outcome", "detail")]


@pytest.fixture
def audited() -> Any:
    """`audited(action)` gives the audit events of that action, oldest first."""
    return events
