"""The operator's policy in force: its history, who may ask for it, and what happens while it cannot be read."""

from typing import Any

import pytest

from registry import policies, services
from registry.models import Artifact, PolicyVersion
from registry.policy import Policy
from secai_site.kernel.errors import Conflict, InvalidRequest
from tests.registry.test_promotion import at_once, wish
from tests.registry.test_scan import scan
from tests.support.builders import held, submitted
from tests.support.cast import Cast, key_of
from tests.support.client import ListenerClient, program, service

pytestmark = pytest.mark.django_db


@pytest.fixture
def registry(cast: Cast) -> ListenerClient:
    """A program with the scope `models` at the registry's door."""
    return program(key_of(cast.operator, "read", "models"), "registry")


def saved(base: int = 0, **changes: Any) -> PolicyVersion:
    """A policy that differs from the default by `changes`, put in force."""
    return policies.save(document=Policy().document() | changes, base=base, actor="user:1", note="why")


def broken() -> PolicyVersion:
    """A stored policy that nobody can read."""
    return PolicyVersion.objects.create(
        number=1, document={"local_import": True}, sha256="0" * 64, author="user:1"
    )


# --- in force ----------------------------------------------------------------------------------------


def test_a_new_box_has_the_policy_of_its_environment(settings: Any) -> None:
    assert policies.current() == (Policy(), 0)
    settings.LOCAL_IMPORT, settings.PROMOTION = False, "manual"
    assert policies.current() == (Policy(local_import=False, promotion="manual"), 0)


def test_a_saved_policy_is_in_force_and_the_old_ones_stay(audited: Any) -> None:
    first = saved(signature="required")
    second = saved(base=1, conduct_minimum=50)
    assert policies.current() == (Policy(conduct_minimum=50), 2)
    rows = list(PolicyVersion.objects.order_by("number"))
    assert [(row.number, row.sha256, row.author, row.note) for row in rows] == [
        (1, first.sha256, "user:1", "why"), (2, second.sha256, "user:1", "why"),
    ]  # fmt: skip
    assert rows[0].document["signature"] == "required"
    events = audited("registry.policy:saved")
    assert [(one["actor"], one["target"], one["detail"]) for one in events] == [
        ("user:1", "policy:1", {"sha256": first.sha256, "weaker": 0}),
        ("user:1", "policy:2", {"sha256": second.sha256, "weaker": 1}),
    ]


def test_the_environment_tightens_a_saved_policy_and_never_loosens_it(settings: Any) -> None:
    saved()
    settings.LOCAL_IMPORT, settings.PROMOTION = False, "manual"
    assert policies.current() == (Policy(local_import=False, promotion="manual"), 1)
    settings.LOCAL_IMPORT, settings.PROMOTION = True, "automatic"
    saved(base=1, local_import=False, promotion="manual")
    assert policies.current() == (Policy(local_import=False, promotion="manual"), 2)


@pytest.mark.parametrize("document", [None, {}, [], {"signature": "required"}])
def test_what_is_no_policy_is_not_saved(document: object, audited: Any) -> None:
    saved()
    with pytest.raises(InvalidRequest) as refusal:
        policies.save(document=document, base=1, actor="user:1")
    assert refusal.value.error_code == "policy.invalid"
    assert (PolicyVersion.objects.count(), len(audited("registry.policy:saved"))) == (1, 1)


@pytest.mark.parametrize("base", [-1, 0, 2, 99])
def test_a_change_of_another_version_is_a_conflict(base: int, audited: Any) -> None:
    saved()
    with pytest.raises(Conflict) as refusal:
        saved(base=base, promotion="manual")
    assert (refusal.value.error_code, refusal.value.http_status) == ("policy.changed", 409)
    assert policies.current() == (Policy(), 1)
    assert len(audited("registry.policy:saved")) == 1


@pytest.mark.django_db(transaction=True)
def test_of_many_who_save_at_once_one_does() -> None:
    results = at_once(*[lambda n=n: saved(keep_refused_days=n) for n in range(1, 5)])
    assert sum(isinstance(one, PolicyVersion) for one in results) == 1, results
    assert {one.error_code for one in results if isinstance(one, Conflict)} == {"policy.changed"}
    assert PolicyVersion.objects.count() == 1


# --- the routes --------------------------------------------------------------------------------------


def test_the_policy_can_be_read(cast: Cast) -> None:
    reader = program(key_of(cast.member, "read"), "registry")
    saved(signature="required")
    body = reader.get("/v1/policy").json()
    assert body == {
        "number": 1, "sha256": Policy(signature="required").sha256,
        "document": Policy(signature="required").document(),
    }  # fmt: skip
    assert reader.send("PUT", "/v1/policy", body).status_code in (403, 405)
    assert policies.current()[1] == 1


@pytest.mark.parametrize(
    ("source", "answer"),
    [
        ("https://huggingface.co/org/model/m.gguf", (True, "source.download")),
        ("local", (True, "source.local")),
        ("https://evil.example/m.gguf", (False, "source.unlisted")),
        ("http://huggingface.co/m.gguf", (False, "source.address")),
        ("https://huggingface.co/a\u202eb", (False, "source.address")),
    ],
)
def test_whether_a_source_is_admitted(
    registry: ListenerClient, source: str, answer: tuple[bool, str]
) -> None:
    body = registry.send("POST", "/v1/policy/admit", {"source": source}).json()
    assert (body["allowed"], body["code"]) == answer
    assert (body["reason"] == "") is answer[0]


@pytest.mark.parametrize(
    "body", [{}, {"source": ""}, {"source": 7}, {"source": "x" * 2001}, {"source": "a", "b": 1}]
)
def test_a_strange_question_is_refused(registry: ListenerClient, body: dict[str, Any]) -> None:
    assert registry.send("POST", "/v1/policy/admit", body).json()["code"] == "request.invalid"


def test_the_pages_may_ask_and_readers_may_not(cast: Cast) -> None:
    question = {"source": "local"}
    assert service("ui", "registry").send("POST", "/v1/policy/admit", question).status_code == 200
    reader = program(key_of(cast.member, "read"), "registry")
    assert reader.send("POST", "/v1/policy/admit", question).status_code == 403
    assert ListenerClient("registry").get("/v1/policy").status_code == 401


# --- while it cannot be read -------------------------------------------------------------------------


def test_a_policy_that_cannot_be_read_admits_nothing(registry: ListenerClient) -> None:
    item = held()
    broken()
    for answer in (
        registry.get("/v1/policy"),
        registry.send("POST", "/v1/policy/admit", {"source": "local"}),
        registry.send("POST", "/v1/promote", wish(item)),
        registry.send("POST", f"/v1/quarantine/{item.pk}/promote", {}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (503, "policy.broken")
        assert "Save a good one in the admin" in answer.json()["error"]
    item.refresh_from_db()
    assert (item.status, Artifact.objects.count()) == ("held", 0)


def test_a_scan_without_a_readable_policy_lets_nothing_through() -> None:
    item = submitted()
    broken()
    with pytest.raises(policies.PolicyBroken):
        scan(item)
    item.refresh_from_db()
    assert item.status not in ("held", "promoted")
    saved(base=1)
    services.rescan(item=item, actor="user:1")
    assert item.status == "waiting"


def test_a_good_one_can_be_saved_in_its_place(audited: Any) -> None:
    broken()
    assert policies.current_or_default() == (Policy(), 1)
    saved(base=1, signature="required")
    assert policies.current() == (Policy(signature="required"), 2)
    assert audited("registry.policy:saved")[0]["detail"]["weaker"] == 0
