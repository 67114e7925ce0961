"""The operators' pages for the policy and the trusted keys: what they show before it counts, and what they refuse."""

from typing import Any

import pytest

from registry import policies, trusted
from registry.models import PolicyVersion, TrustedKey
from registry.policy import Policy
from tests.support.builders import promoted
from tests.support.cast import Cast
from tests.support.client import ListenerClient, browser
from tests.support.signing import Elliptic, Minisign

pytestmark = pytest.mark.django_db(transaction=True)

POLICY = "/admin/registry/policyversion/"
KEYS = "/admin/registry/trustedkey/"
GIB = 2**30


def form(base: int = 0, **changes: Any) -> dict[str, Any]:
    """The fields of the policy's form, as they stand on a new box, changed."""
    same = Policy().document()
    fields = {
        "local_import": "on", "sources": "\r\n".join(Policy().sources), "formats": same["formats"],
        "max_gib": same["max_size_bytes"] // GIB, "signature": "optional", "unknown_templates": "allow",
        "conduct_minimum": "", "promotion": "automatic", "keep_refused_days": 30, "note": "why", "base": base,
    }  # fmt: skip
    return {name: value for name, value in (fields | changes).items() if value is not None}


def save(operator: ListenerClient, base: int = 0, **changes: Any) -> Any:
    return operator.post(f"{POLICY}add/", form(base, save="Put it in force", **changes))


# --- the policy --------------------------------------------------------------------------------------


def test_the_form_shows_the_policy_in_force(operator: ListenerClient) -> None:
    policies.save(document=Policy(conduct_minimum=42).document(), base=0, actor="user:1")
    page = operator.get(f"{POLICY}add/")
    assert page.status_code == 200
    assert page.context["form"].initial["conduct_minimum"] == 42
    assert 'name="base" value="1"' in page.content.decode()
    assert "Put it in force" not in page.content.decode()


def test_the_preview_shows_what_it_would_change_and_saves_nothing(operator: ListenerClient) -> None:
    promoted("tiny")
    policies.save(document=Policy(signature="required").document(), base=0, actor="user:1")
    text = operator.post(f"{POLICY}add/", form(1, local_import=None, preview="Show")).content.decode()
    assert "Unsigned models become possible." in text
    assert "tiny" in text
    assert "does not take uploaded models" in text
    assert "Put it in force" in text
    assert PolicyVersion.objects.count() == 1


def test_the_preview_of_no_change_says_so(operator: ListenerClient) -> None:
    text = operator.post(f"{POLICY}add/", form(preview="Show")).content.decode()
    assert "Nothing: it is the policy in force." in text
    assert "Put it in force" not in text


def test_saving_puts_it_in_force(cast: Cast, operator: ListenerClient, audited: Any) -> None:
    changes: dict[str, Any] = {
        "local_import": None, "sources": " https://h.example/models/ \r\n\r\n", "formats": ["gguf"], "max_gib": 3,
        "signature": "required", "unknown_templates": "refuse", "conduct_minimum": 0, "promotion": "manual",
        "keep_refused_days": 5, "revision_pins": "on",
    }  # fmt: skip
    answer = save(operator, **changes)
    assert (answer.status_code, answer["Location"]) == (302, POLICY)
    assert policies.current() == (
        Policy(
            False,
            ("https://h.example/models/",),
            True,
            ("gguf",),
            3 * GIB,
            "required",
            "refuse",
            0,
            "manual",
            5,
        ),
        1,
    )
    row = PolicyVersion.objects.get()
    assert (row.author, row.note) == (f"user:{cast.operator.pk}", "why")
    assert audited("registry.policy:saved")[0]["actor"] == f"user:{cast.operator.pk}"
    assert "Policy 1 is in force" in operator.get(POLICY).content.decode()


def test_what_stands_in_the_form_is_the_policy_in_force(operator: ListenerClient) -> None:
    assert save(operator).status_code == 302
    assert policies.current() == (Policy(), 1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sources": "http://huggingface.co/"}, "is no source"),
        ({"sources": "https://h.example/\nhttps://h.example/"}, "each once"),
        ({"sources": "<script>alert(1)</script>"}, "&lt;script&gt;"),
        ({"formats": ["pickle"]}, "pickle is not one"),
        ({"max_gib": 0}, "greater than or equal to 1"),
        ({"max_gib": 4096}, "less than or equal to 2048"),
        ({"conduct_minimum": 101}, "less than or equal to 100"),
        ({"signature": "never"}, "never is not one"),
        ({"base": "x"}, "Enter a whole number"),
        ({"base": None}, "This field is required"),
    ],
)
def test_what_is_no_policy_is_not_saved(
    operator: ListenerClient, changes: dict[str, Any], words: str
) -> None:
    answer = save(operator, **changes)
    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert "<script>alert" not in answer.content.decode()
    assert not PolicyVersion.objects.exists()


def test_a_change_of_an_old_version_is_shown_again_before_it_counts(operator: ListenerClient) -> None:
    policies.save(document=Policy(signature="required").document(), base=0, actor="user:1")
    text = save(operator, conduct_minimum=50).content.decode()
    assert "Somebody else changed the policy meanwhile" in text
    assert "Unsigned models become possible." in text
    assert 'name="base" value="1"' in text
    assert policies.current() == (Policy(signature="required"), 1)
    assert save(operator, base=1, conduct_minimum=50).status_code == 302
    assert policies.current() == (Policy(conduct_minimum=50), 2)


def test_an_old_version_can_be_used_again(operator: ListenerClient) -> None:
    policies.save(document=Policy(conduct_minimum=42).document(), base=0, actor="user:1")
    policies.save(document=Policy().document(), base=1, actor="user:1")
    page = operator.get(f"{POLICY}add/?from=1")
    assert page.context["form"].initial["conduct_minimum"] == 42
    assert page.context["form"].initial["base"] == 2
    assert f"{POLICY}add/?from=1" in operator.get(f"{POLICY}1/change/").content.decode()


@pytest.mark.parametrize("asked", ["", "0", "9", "x", "-1", "1" * 30, "1.0", "²"])
def test_an_unknown_old_version_is_the_one_in_force(operator: ListenerClient, asked: str) -> None:
    page = operator.get(f"{POLICY}add/", {"from": asked})
    assert page.status_code == 200
    assert page.context["form"].initial["base"] == 0


def test_a_good_policy_can_be_saved_in_place_of_one_that_cannot_be_read(operator: ListenerClient) -> None:
    PolicyVersion.objects.create(number=1, document={"x": 1}, sha256="", author="user:1")
    for page in (POLICY, f"{POLICY}add/", f"{POLICY}add/?from=1", f"{POLICY}1/change/"):
        assert operator.get(page).status_code == 200
    assert operator.post(f"{POLICY}add/", form(1, preview="Show")).status_code == 200
    assert save(operator, base=1).status_code == 302
    assert policies.current() == (Policy(), 2)


def test_history_is_neither_changed_nor_deleted(operator: ListenerClient) -> None:
    row = policies.save(document=Policy().document(), base=0, actor="user:1")
    assert operator.post(f"{POLICY}1/change/", form()).status_code == 403
    assert operator.post(f"{POLICY}1/delete/", {"post": "yes"}).status_code == 403
    operator.post(POLICY, {"action": "delete_selected", "_selected_action": ["1"], "post": "yes"})
    assert PolicyVersion.objects.get().sha256 == row.sha256


@pytest.mark.parametrize("page", [POLICY, f"{POLICY}add/", KEYS, f"{KEYS}add/"])
def test_the_pages_are_for_operators(cast: Cast, page: str) -> None:
    assert browser(cast.operator).get(page).status_code == 200
    assert browser(cast.member).get(page).status_code in (302, 403)
    assert ListenerClient().get(page).status_code in (302, 401, 403)


def test_only_operators_change_anything(cast: Cast) -> None:
    member = browser(cast.member)
    assert save(member, promotion="manual").status_code in (302, 403)
    assert add_key(member).status_code in (302, 403)
    assert save(browser(cast.operator, csrf=False)).status_code == 403
    assert not PolicyVersion.objects.exists()
    assert not TrustedKey.objects.exists()


# --- trusted keys ------------------------------------------------------------------------------------

MINISIGN = Minisign()
ELLIPTIC = Elliptic()


def add_key(client: ListenerClient, name: str = "Ann", text: str = MINISIGN.public()) -> Any:
    return client.post(f"{KEYS}add/", {"name": name, "text": text})


@pytest.mark.parametrize(
    ("text", "kind"), [(MINISIGN.public(), "minisign"), (ELLIPTIC.public(), "pem")], ids=["minisign", "pem"]
)
def test_a_key_is_added(cast: Cast, operator: ListenerClient, audited: Any, text: str, kind: str) -> None:
    answer = add_key(operator, text=text)
    assert answer.status_code == 302, answer.content.decode()
    key = TrustedKey.objects.get()
    assert (key.name, key.kind, key.added_by) == ("Ann", kind, f"user:{cast.operator.pk}")
    events = audited("registry.key:trusted")
    assert [one["actor"] for one in events] == [f"user:{cast.operator.pk}"]
    assert "Ann" in operator.get(KEYS).content.decode()
    assert operator.get(f"{KEYS}{key.pk}/change/").status_code == 200


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("Ann", "garbage", "not a public key"),
        ("Ann", "", "required"),
        ("Ann", ELLIPTIC.private(), "private key"),
        ("Ann", MINISIGN.secret(), "private key"),
        ("", MINISIGN.public(), "required"),
        ("a" * 121, MINISIGN.public(), "at most 120"),
        ("Ann", "A" * 20_001, "at most 20000"),
        ("a\u202eb", MINISIGN.public(), "visible characters"),
    ],
    ids=range(8),
)
def test_what_is_no_key_is_refused_with_a_sentence(
    operator: ListenerClient, audited: Any, name: str, text: str, words: str
) -> None:
    answer = add_key(operator, name, text)
    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert not TrustedKey.objects.exists()
    assert not audited("registry.key:trusted")


def test_the_same_key_is_added_once(operator: ListenerClient, audited: Any) -> None:
    trusted.add_key(name="Ann", text=MINISIGN.public(), actor="user:1")
    assert "trusted already, as “Ann”" in add_key(operator, "Bob").content.decode()
    assert "name" in add_key(operator, "Ann", ELLIPTIC.public()).content.decode()
    assert TrustedKey.objects.count() == len(audited("registry.key:trusted")) == 1


def test_keys_are_removed(cast: Cast, operator: ListenerClient, audited: Any) -> None:
    texts = {"Ann": MINISIGN.public(), "Bob": ELLIPTIC.public()}
    keys = [trusted.add_key(name=name, text=text, actor="user:1") for name, text in texts.items()]
    chosen = [str(key.pk) for key in keys]
    answer = operator.post(KEYS, {"action": "remove", "_selected_action": chosen})
    assert answer.status_code == 302, answer.content.decode()
    assert not TrustedKey.objects.exists()
    events = audited("registry.key:removed")
    assert {one["actor"] for one in events} == {f"user:{cast.operator.pk}"}
    assert {one["target"] for one in events} == {f"key:{key.fingerprint}" for key in keys}


def test_a_key_is_not_changed_and_not_deleted_by_the_way(operator: ListenerClient) -> None:
    key = trusted.add_key(name="Ann", text=MINISIGN.public(), actor="user:1")
    change = operator.post(f"{KEYS}{key.pk}/change/", {"name": "Bob", "text": ELLIPTIC.public()})
    assert change.status_code == 403
    assert operator.post(f"{KEYS}{key.pk}/delete/", {"post": "yes"}).status_code == 403
    assert TrustedKey.objects.get().name == "Ann"
