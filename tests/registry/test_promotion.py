"""Into the registry: only scanned bytes, only once, only under a free name, and nothing half-done."""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connections

from registry import names, policies, services
from registry import urls as registry_urls
from registry.lifecycle import STAGES, ItemStatus
from registry.models import Artifact, QuarantineItem, StageResult
from registry.policy import Policy
from registry.record import record_is_genuine
from secai_site.kernel.errors import ServiceError
from secai_site.kernel.jobs.models import Job
from tests.support.builders import flip_byte, held, incoming, promoted, submitted
from tests.support.cast import Cast, key_of
from tests.support.client import ListenerClient, program
from ui import urls as ui_urls

pytestmark = pytest.mark.django_db


@pytest.fixture
def registry(cast: Cast) -> ListenerClient:
    """A program with the scope `models` at the registry's door."""
    return program(key_of(cast.operator, "read", "models"), "registry")


def wish(item: QuarantineItem, **changes: Any) -> dict[str, Any]:
    """A good body of POST /v1/promote for `item`, changed."""
    body = {
        "name": "tiny",
        "path": str(item.file),
        "sha256": item.sha256,
        "format": "gguf",
        "source": "local",
    }
    return {name: value for name, value in (body | changes).items() if value is not ...}


# --- it works ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["absolute", "bare", "relative"])
def test_a_scanned_file_is_promoted(registry: ListenerClient, audited: Any, form: str) -> None:
    item = held(data=b"the model's bytes")
    path = {"absolute": str(item.file), "bare": str(item.pk), "relative": f"{item.pk}/artifact"}[form]
    answer = registry.send("POST", "/v1/promote", wish(item, path=path))
    assert answer.status_code == 200, answer.content
    body = answer.json()
    assert (body["name"], body["sha256"], body["status"]) == ("tiny", item.sha256, "promoted")
    assert Path(body["path"]).read_bytes() == b"the model's bytes"
    assert Path(body["path"]).stat().st_mode & 0o777 == 0o400
    assert [(stage["name"], stage["verdict"]) for stage in body["scan"]] == [
        (name, "pass") for name in STAGES
    ]
    assert body["promoted_at"].endswith("Z")
    assert not item.folder.exists()
    assert record_is_genuine(Artifact.objects.get().record)
    assert audited("registry.model:promoted")[0]["outcome"] == "done"
    assert registry.get("/v1/models").json() == [body]
    assert registry.get("/v1/model/TINY").json() == body


def test_the_list_has_an_etag(registry: ListenerClient) -> None:
    assert registry.get("/v1/models").json() == []
    promoted()
    first = registry.get("/v1/models")
    again = registry.get("/v1/models", headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    promoted("other")
    assert registry.get("/v1/models", headers={"If-None-Match": first["ETag"]}).status_code == 200


def test_the_same_bytes_may_have_two_names(registry: ListenerClient) -> None:
    first = held()
    registry.send("POST", "/v1/promote", wish(first))
    second = held("other")
    answer = registry.send("POST", "/v1/promote", wish(second, name="other"))
    assert answer.status_code == 200
    assert registry.send("DELETE", "/v1/model/tiny").status_code == 200
    assert Path(answer.json()["path"]).exists()
    assert registry.send("DELETE", "/v1/model/other").status_code == 200
    assert not Path(answer.json()["path"]).exists()


# --- it refuses --------------------------------------------------------------------------------------

REFUSALS: dict[str, tuple[dict[str, Any], int, str]] = {
    "no name": ({"name": ...}, 400, "request.invalid"),
    "no path": ({"path": ...}, 400, "request.invalid"),
    "no sha256": ({"sha256": ...}, 400, "request.invalid"),
    "no format": ({"format": ...}, 400, "request.invalid"),
    "no source": ({"source": ...}, 400, "request.invalid"),
    "an unknown field": ({"approved": True}, 400, "request.invalid"),
    "upper-case hex": ({"sha256": "A" * 64}, 400, "request.invalid"),
    "63 digits": ({"sha256": "a" * 63}, 400, "request.invalid"),
    "a newline after the digits": ({"sha256": "a" * 64 + "\n"}, 400, "request.invalid"),
    "other digits": ({"sha256": "٣" * 64}, 400, "request.invalid"),
    "a number": ({"name": 7}, 400, "request.invalid"),
    "another digest": ({"sha256": "0" * 64}, 400, "promote.mismatch"),
    "pickle": ({"format": "pickle"}, 400, "request.invalid"),
    "another format": ({"format": "safetensors"}, 400, "promote.format"),
    "another source": ({"source": "https://huggingface.co/x"}, 400, "promote.source"),
    "a path outside": ({"path": "/etc/passwd"}, 400, "path.outside"),
    "the twin of the root": ({"path": f"{django_settings.QUARANTINE_DIR}_evil/x"}, 400, "path.outside"),
    "a path upwards": ({"path": "../../etc/passwd"}, 400, "path.outside"),
    "the root": ({"path": "/"}, 400, "path.outside"),
    "a folder": ({"path": f"{django_settings.QUARANTINE_DIR}/incoming"}, 400, "promote.missing"),
    "a file within": ({"path": f"{django_settings.QUARANTINE_DIR}/x/artifact/y"}, 400, "path.refused"),
    "NUL in the path": ({"path": "a\0b"}, 400, "request.invalid"),
    "a missing file": ({"path": "no-such-item"}, 400, "promote.missing"),
    "a name with a slash": ({"name": "a/b"}, 400, "model.name"),
    "a hidden name": ({"name": ".tiny"}, 400, "model.name"),
    "a name with a space": ({"name": "a b"}, 400, "model.name"),
    "an option": ({"name": "-rf"}, 400, "model.name"),
    "a long name": ({"name": "x" * 129}, 400, "request.invalid"),
    "no Latin name": ({"name": "mоdel"}, 400, "model.name"),
    "a bidi name": ({"name": "a\u202eb"}, 400, "model.name"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_bad_wish_is_refused(registry: ListenerClient, audited: Any, case: str) -> None:
    item = held()
    changes, status, code = REFUSALS[case]
    answer = registry.send("POST", "/v1/promote", wish(item, **changes))
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.content
    assert not Artifact.objects.exists()
    assert QuarantineItem.objects.get().status == "held"
    assert item.file.exists()
    if code != "request.invalid":
        event = audited("registry.model:promoted")[0]
        assert (event["outcome"], event["detail"]) == ("refused", {"code": code})


def test_the_refusal_of_a_wrong_digest_names_both(registry: ListenerClient) -> None:
    item = held()
    body = registry.send("POST", "/v1/promote", wish(item, sha256="0" * 64)).json()
    assert (body["expected"], body["actual"]) == ("0" * 64, item.sha256)


@pytest.mark.parametrize("status", [s for s in ItemStatus if s is not ItemStatus.HELD])
def test_only_a_held_file_is_promoted(registry: ListenerClient, status: ItemStatus) -> None:
    item = held()
    QuarantineItem.objects.update(status=status.value)
    answer = registry.send("POST", "/v1/promote", wish(item))
    assert (answer.status_code, answer.json()["code"]) == (400, "promote.not_scanned")
    assert not Artifact.objects.exists()


@pytest.mark.parametrize("verdict", ["refuse", "inconclusive", "pending"])
@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_must_have_let_it_through(registry: ListenerClient, stage: str, verdict: str) -> None:
    item = held()
    StageResult.objects.filter(name=stage).update(verdict=verdict)
    for answer in (
        registry.send("POST", "/v1/promote", wish(item)),
        registry.send("POST", f"/v1/quarantine/{item.pk}/promote", {}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (400, "promote.not_scanned")
    assert not Artifact.objects.exists()


def test_a_missing_stage_is_no_pass(registry: ListenerClient) -> None:
    item = held()
    StageResult.objects.filter(name="behavior").delete()
    answer = registry.send("POST", f"/v1/quarantine/{item.pk}/promote", {})
    assert (answer.status_code, answer.json()["code"]) == (400, "promote.not_scanned")


def test_a_verdict_of_other_bytes_is_no_pass(registry: ListenerClient) -> None:
    item = held()
    StageResult.objects.filter(name="format_gate").update(sha256="0" * 64)
    answer = registry.send("POST", f"/v1/quarantine/{item.pk}/promote", {})
    assert (answer.status_code, answer.json()["code"]) == (400, "promote.not_scanned")


def test_bytes_changed_after_the_scan_are_refused(registry: ListenerClient) -> None:
    item = held()
    flip_byte(item.file)
    answer = registry.send("POST", f"/v1/quarantine/{item.pk}/promote", {})
    assert (answer.status_code, answer.json()["code"]) == (400, "promote.mismatch")
    assert not Artifact.objects.exists()
    assert list(Path(django_settings.MODELS_DIR).iterdir()) == []


def test_a_link_in_the_files_place_is_refused(registry: ListenerClient, tmp_path: Path) -> None:
    item = held()
    copy = tmp_path / "copy"
    copy.write_bytes(item.file.read_bytes())
    item.file.unlink()
    item.file.symlink_to(copy)
    for path in (str(item.file), str(item.pk)):
        answer = registry.send("POST", "/v1/promote", wish(item, path=path))
        assert (answer.status_code, answer.json()["code"]) == (400, "path.refused")
    assert not Artifact.objects.exists()


@pytest.mark.parametrize("name", ["tiny", "TINY", "Tiny"])
def test_a_name_is_taken_in_every_case(registry: ListenerClient, name: str) -> None:
    promoted("tiny")
    item = held("another", b"other bytes")
    answer = registry.send("POST", "/v1/promote", wish(item, name=name))
    assert (answer.status_code, answer.json()["code"]) == (400, "model.name_taken")
    assert Artifact.objects.count() == 1
    refused = registry.send("POST", "/v1/quarantine", {
        "path": incoming(), "name": name, "filename": "a.gguf", "source": "local",
    })  # fmt: skip
    assert (refused.status_code, refused.json()["code"]) == (400, "model.name_taken")


def test_promoting_twice_is_refused(registry: ListenerClient) -> None:
    item = held()
    assert registry.send("POST", f"/v1/quarantine/{item.pk}/promote", {}).status_code == 200
    again = registry.send("POST", f"/v1/quarantine/{item.pk}/promote", {})
    assert (again.status_code, again.json()["code"]) == (400, "promote.not_scanned")
    assert Artifact.objects.count() == 1


def test_a_damaged_copy_in_the_store_is_not_promoted_again(registry: ListenerClient) -> None:
    registry.send("POST", "/v1/promote", wish(held()))
    flip_byte(Path(Artifact.objects.get().path))
    answer = registry.send("POST", "/v1/promote", wish(held("other"), name="other"))
    assert (answer.status_code, answer.json()["code"]) == (409, "promote.store_damaged")
    assert Artifact.objects.count() == 1


def at_once(*calls: Any) -> list[Any]:
    """All calls in threads of their own; their results, or the refusals they raised."""

    def guarded(call: Any) -> Any:
        try:
            return call()
        except ServiceError as error:
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(guarded, calls))


@pytest.mark.django_db(transaction=True)
def test_of_many_who_promote_a_file_at_once_one_does() -> None:
    item = held()

    def promote() -> Artifact:
        return services.promote_item(item=QuarantineItem.objects.get(pk=item.pk), actor="user:1")

    results = at_once(*[promote] * 4)
    assert sum(isinstance(result, Artifact) for result in results) == 1, results
    assert all(isinstance(result, Artifact | ServiceError) for result in results)
    stored = Artifact.objects.get()
    assert Path(stored.path).exists()
    assert QuarantineItem.objects.get().status == "promoted"


@pytest.mark.django_db(transaction=True)
def test_of_two_files_that_want_one_name_at_once_one_gets_it() -> None:
    items = [held("one", b"one"), held("two", b"two")]
    calls = [
        lambda item=item: services.promote_item(item=item, actor="user:1", name="same") for item in items
    ]
    results = at_once(*calls)
    assert sum(isinstance(result, Artifact) for result in results) == 1, results
    assert [getattr(r, "error_code", "") for r in results if isinstance(r, ServiceError)] == [
        "model.name_taken"
    ]
    assert Artifact.objects.get().name == "same"


# --- taking in ---------------------------------------------------------------------------------------


def test_a_file_is_taken_in_and_its_scan_queued(registry: ListenerClient, audited: Any) -> None:
    path = incoming(b"bytes")
    answer = registry.send(
        "POST", "/v1/quarantine", {"path": path, "name": "", "filename": "My Model.gguf", "source": "local"}
    )
    assert answer.status_code == 201, answer.content
    body = answer.json()
    assert (body["status"], body["name"], body["size_bytes"]) == ("waiting", "My-Model", 5)
    item = QuarantineItem.objects.get()
    assert item.file.read_bytes() == b"bytes"
    assert os.listdir(Path(django_settings.QUARANTINE_DIR) / "incoming") == []
    assert Job.objects.get().arguments == {"item_id": str(item.pk)}
    assert audited("registry.file:submitted")[0]["target"] == f"quarantine:{item.pk}"


@pytest.mark.parametrize(
    ("path", "status"),
    [("../db.sqlite3", 400), ("/etc/passwd", 400), ("missing", 404), ("", 400), ("a\0", 400)],
)
def test_only_incoming_files_are_taken_in(registry: ListenerClient, path: str, status: int) -> None:
    body = {"path": path, "name": "x", "filename": "x.gguf", "source": "local"}
    assert registry.send("POST", "/v1/quarantine", body).status_code == status
    assert not QuarantineItem.objects.exists()


def test_a_link_in_the_incoming_folder_is_not_taken_in(registry: ListenerClient) -> None:
    link = Path(django_settings.QUARANTINE_DIR) / "incoming" / "link"
    link.symlink_to("/etc/passwd")
    body = {"path": "link", "name": "x", "filename": "x.gguf", "source": "local"}
    assert registry.send("POST", "/v1/quarantine", body).status_code == 400
    assert not QuarantineItem.objects.exists()


# --- dropping and scanning again ---------------------------------------------------------------------


def test_a_file_is_dropped_with_its_bytes(registry: ListenerClient, audited: Any) -> None:
    item = submitted()
    assert registry.send("DELETE", f"/v1/quarantine/{item.pk}").status_code == 200
    assert not item.folder.exists()
    assert not QuarantineItem.objects.exists()
    assert len(audited("registry.file:dropped")) == 1


def test_a_file_that_is_being_scanned_stays(registry: ListenerClient) -> None:
    item = submitted()
    QuarantineItem.objects.update(status="scanning")
    for method, path, body in (("DELETE", "", None), ("POST", "/rescan", {})):
        answer = registry.send(method, f"/v1/quarantine/{item.pk}{path}", body)
        assert (answer.status_code, answer.json()["code"]) == (409, "quarantine.state")
    assert item.file.exists()


def test_a_scan_that_was_given_up_does_not_block_its_file(registry: ListenerClient) -> None:
    item = submitted()
    QuarantineItem.objects.update(status="scanning")
    Job.objects.update(state="failed")
    assert registry.send("POST", f"/v1/quarantine/{item.pk}/rescan", {}).json()["status"] == "waiting"
    QuarantineItem.objects.update(status="scanning")
    Job.objects.update(state="failed")
    assert registry.send("DELETE", f"/v1/quarantine/{item.pk}").status_code == 200


@pytest.mark.parametrize(
    ("status", "code"), [("refused", 200), ("held", 200), ("waiting", 409), ("promoted", 409)]
)
def test_what_may_be_scanned_again(registry: ListenerClient, status: str, code: int) -> None:
    item = submitted()
    QuarantineItem.objects.update(status=status)
    assert registry.send("POST", f"/v1/quarantine/{item.pk}/rescan", {}).status_code == code


def test_strange_ids_are_not_found(registry: ListenerClient) -> None:
    for path in (
        "/v1/quarantine/00000000-0000-0000-0000-000000000000",
        "/v1/quarantine/x",
        "/v1/model/missing",
    ):
        assert registry.get(path).status_code == 404
        assert registry.send("DELETE", path).status_code == 404


def test_a_member_may_look_and_not_touch(cast: Cast) -> None:
    item = held()
    member = program(key_of(cast.member, "read"), "registry")
    assert member.get("/v1/quarantine").json()[0]["status"] == "held"
    for method, path in (
        ("POST", "/v1/promote"), ("POST", f"/v1/quarantine/{item.pk}/promote"), ("DELETE", f"/v1/quarantine/{item.pk}"),
    ):  # fmt: skip
        assert member.send(method, path, {}).status_code == 403
    assert item.file.exists()


def test_the_quarantine_list_takes_the_same_queries_for_any_length(
    cast: Cast, django_assert_num_queries: Any
) -> None:
    from registry import selectors

    for n in range(5):
        held(f"model-{n}", str(n).encode())
    with django_assert_num_queries(3):
        assert len(selectors.open_items()) == 5
    with django_assert_num_queries(1):
        selectors.all_models()


# --- under the checks and the policy of now ------------------------------------------------------------


def test_a_file_held_under_another_policy_is_scanned_again_first(
    registry: ListenerClient, audited: Any
) -> None:
    item = held()
    policies.save(document=Policy(signature="required").document(), base=0, actor="user:1")
    answer = registry.send("POST", f"/v1/quarantine/{item.pk}/promote", {})
    assert (answer.status_code, answer.json()["code"]) == (400, "promote.outdated")
    assert not Artifact.objects.exists()
    event = audited("registry.model:promoted")[0]
    assert (event["outcome"], event["detail"]) == ("refused", {"code": "promote.outdated"})


def test_a_file_held_under_older_checks_is_scanned_again_first(registry: ListenerClient) -> None:
    item = held()
    StageResult.objects.filter(name="static_scan").update(version="0")
    answer = registry.send("POST", "/v1/promote", wish(item))
    assert (answer.status_code, answer.json()["code"]) == (400, "promote.outdated")
    assert not Artifact.objects.exists()


def test_it_is_recorded_who_promoted_by_hand(registry: ListenerClient, audited: Any) -> None:
    registry.send("POST", f"/v1/quarantine/{held().pk}/promote", {})
    assert audited("registry.model:promoted")[0]["detail"]["manual"] is True


def test_no_model_is_named_like_a_word_in_an_address() -> None:
    taken = set()
    for route in (*registry_urls.urlpatterns, *ui_urls.urlpatterns):
        match = re.fullmatch(r"(?:v1/model|api/models)/([a-z-]+)(?:/.*)?", str(route.pattern))
        taken |= {match[1]} if match else set()
    assert taken == names.RESERVED
    for word in taken:
        with pytest.raises(names.NameRefused):
            names.checked(word.upper())
        assert names.from_filename(f"{word}.gguf") == f"{word}-model"
