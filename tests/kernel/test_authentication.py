"""Who gets in, with what, and for how long."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from secai_site.kernel.auth import keys, people
from secai_site.kernel.auth.models import ApiKey, Session, User
from secai_site.kernel.auth.scopes import ALL_SCOPES, ROLE_SCOPES, Role, Scope
from secai_site.kernel.auth.tokens import token_of
from secai_site.kernel.errors import InvalidRequest
from secai_site.listeners import CALLERS, LISTENERS
from tests.support.cast import PASSWORD, Cast, key_of
from tests.support.client import ListenerClient, browser, program, service

WHERE = "/api/security/status"


def refused(client: ListenerClient, status: int, code: str, path: str = "/api/keys") -> None:
    """The client is turned away."""
    answer = client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.content


# --- keys --------------------------------------------------------------------------------------------


def test_a_key_opens_every_listener(cast: Cast) -> None:
    key = key_of(cast.operator, "admin")
    for listener in LISTENERS:
        assert program(key, listener).get("/api/schema/").status_code == 200


@pytest.mark.usefixtures("cast")
@pytest.mark.parametrize(
    "header",
    [
        "Bearer", "Bearer ", "Bearer x", "Basic b2xnYTpwdw==", "secai_abcdefgh_" + "x" * 43,
        "Bearer secai_abcdefgh_" + "x" * 43, "Bearer secai_abcdefgh_" + "x" * 43 + "\n",
        "Bearer secai_ABCDEFGH_" + "x" * 43, "Bearer secai_abcdefgh_" + "ä" * 43, "Bearer " + "x" * 8000,
        "Bearer secai-service_ui_" + "x" * 64, "Bearer secai-service_nobody_" + "x" * 64,
        "Bearer secai-service_../ui_" + "x" * 64, "Bearer \x00",
    ],
)  # fmt: skip
def test_a_bad_header_gets_401(header: str) -> None:
    answer = ListenerClient(HTTP_AUTHORIZATION=header).get(WHERE)
    assert answer.status_code == 401
    assert answer.json()["code"].startswith("auth.")
    assert answer["WWW-Authenticate"] == 'Bearer realm="secai"'
    assert str(Path.cwd()) not in answer.content.decode()


def test_the_secret_part_counts(cast: Cast) -> None:
    key = key_of(cast.operator, "admin")
    other = key_of(cast.operator, "admin")
    mixed = key.rpartition("_")[0][:14] + "_" + other[15:]
    assert len(mixed) == len(key)
    refused(program(mixed), 401, "auth.key", WHERE)


def test_only_a_hash_of_the_secret_is_kept(cast: Cast, audited: Any) -> None:
    key = key_of(cast.operator, "admin")
    row = ApiKey.objects.get()
    kept = [str(value) for value in vars(row).values()]
    assert not any(key[15:] in value for value in kept)
    assert key[15:] not in str(audited("auth.key:created"))


def test_a_bad_header_is_not_saved_by_a_good_session(cast: Cast) -> None:
    client = browser(cast.operator)
    client.defaults["HTTP_AUTHORIZATION"] = "Bearer secai_abcdefgh_" + "x" * 43
    refused(client, 401, "auth.key", WHERE)


def test_a_revoked_key_is_dead_at_once(cast: Cast, audited: Any) -> None:
    client = program(key_of(cast.operator, "admin"))
    assert client.get("/api/models/fit").status_code != 401
    keys.revoke_key(key=ApiKey.objects.get(), actor="test")
    refused(client, 401, "auth.key", WHERE)
    keys.revoke_key(key=ApiKey.objects.get(), actor="test")
    assert len(audited("auth.key:revoked")) == 1


def test_an_expired_key_is_dead(cast: Cast) -> None:
    client = program(key_of(cast.operator, "admin"))
    ApiKey.objects.update(expires_at=timezone.now())
    refused(client, 401, "auth.key", WHERE)


def test_a_key_dies_with_its_owner(cast: Cast) -> None:
    client = program(key_of(cast.operator, "admin"))
    User.objects.filter(pk=cast.operator.pk).update(is_active=False)
    refused(client, 401, "auth.key", WHERE)


def test_a_key_may_never_do_more_than_its_owner(cast: Cast) -> None:
    client = program(key_of(cast.operator, "admin"))
    assert client.get("/api/audit/verify").status_code == 200
    cast.operator.role = Role.MEMBER.value
    cast.operator.save()
    refused(client, 403, "auth.scope", "/api/audit/verify")
    assert client.get("/api/conversations").status_code == 200


@pytest.mark.parametrize(
    ("scopes", "code"),
    [([], "key.scope"), (["root"], "key.scope"), (["admin"], "key.scope"), (["models"], "key.scope")],
)
def test_a_member_cannot_make_a_key_beyond_the_role(cast: Cast, scopes: list[str], code: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        key_of(cast.member, *scopes)
    assert caught.value.error_code == code
    assert not ApiKey.objects.exists()


def test_a_key_that_expires_in_the_past_is_not_made(cast: Cast) -> None:
    with pytest.raises(InvalidRequest) as caught:
        keys.create_key(
            owner=cast.member, name="n", scopes=["chat"], expires_at=timezone.now() - timedelta(1), actor="t"
        )
    assert caught.value.error_code == "key.expiry"


def test_a_key_cannot_make_or_see_keys(cast: Cast) -> None:
    client = program(key_of(cast.operator, "admin"))
    refused(client, 403, "auth.session_needed")
    answer = client.send("POST", "/api/keys", {"name": "more", "scopes": ["admin"]})
    assert (answer.status_code, answer.json()["code"]) == (403, "auth.session_needed")
    assert ApiKey.objects.count() == 1


# --- sessions ----------------------------------------------------------------------------------------


def test_a_session_opens_every_listener(cast: Cast) -> None:
    for listener in LISTENERS:
        assert browser(cast.operator, listener).get("/api/schema/").status_code == 200


def test_a_change_by_session_needs_the_csrf_token(cast: Cast) -> None:
    for name, client in {
        "none": browser(cast.operator, csrf=False),
        "another one": ListenerClient(HTTP_X_CSRFTOKEN="x" * 32),
        "the cookie alone": browser(cast.operator),
    }.items():
        if name == "another one":
            client.force_login(cast.operator)
            client.cookies["secai_csrf"] = "y" * 32
        if name == "the cookie alone":
            del client.defaults["HTTP_X_CSRFTOKEN"]
        answer = client.send("POST", "/api/vm/gpu", {})
        assert (answer.status_code, answer.json()["code"]) == (403, "auth.csrf"), name
    assert browser(cast.operator).send("POST", "/api/vm/gpu", {}).status_code == 200


def test_a_session_ends_when_it_is_ended(cast: Cast) -> None:
    client = browser(cast.member)
    assert client.get("/api/keys").status_code == 200
    people.end_session(session=Session.objects.get(user=cast.member), actor="test")
    refused(client, 401, "auth.required")


def test_a_session_ends_with_the_password(cast: Cast) -> None:
    client = browser(cast.member)
    cast.member.set_password("another long password")
    cast.member.save()
    refused(client, 401, "auth.required")


def test_a_session_ends_with_the_person(cast: Cast) -> None:
    client = browser(cast.member)
    User.objects.filter(pk=cast.member.pk).update(is_active=False)
    refused(client, 401, "auth.required")


def test_a_session_expires(cast: Cast) -> None:
    client = browser(cast.member)
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    refused(client, 401, "auth.required")


def test_a_lowered_role_counts_at_once(cast: Cast) -> None:
    client = browser(cast.operator)
    assert client.get("/api/audit/verify").status_code == 200
    User.objects.filter(pk=cast.operator.pk).update(role="member")
    refused(client, 403, "auth.scope", "/api/audit/verify")
    User.objects.filter(pk=cast.operator.pk).update(role="something new")
    refused(client, 403, "auth.scope", WHERE)


def test_the_roles_flags_follow_the_role(cast: Cast) -> None:
    cast.member.is_staff = cast.member.is_superuser = True
    cast.member.save()
    assert not (cast.member.is_staff or cast.member.is_superuser)
    assert cast.operator.is_staff


def test_one_sees_ones_own_keys_and_sessions_only(cast: Cast) -> None:
    key_of(cast.member, "chat")
    mine, theirs = browser(cast.member), browser(cast.stranger)
    key_id = mine.get("/api/keys").json()[0]["id"]
    session_id = mine.get("/api/sessions").json()[0]["id"]
    assert theirs.get("/api/keys").json() == []
    for path in (f"/api/keys/{key_id}", f"/api/sessions/{session_id}"):
        assert theirs.send("DELETE", path).status_code == 404
    assert ApiKey.objects.get().revoked_at is None
    assert mine.send("DELETE", f"/api/keys/{key_id}").status_code == 200
    assert ApiKey.objects.get().revoked_at is not None
    assert mine.send("DELETE", f"/api/sessions/{session_id}").status_code == 200
    refused(mine, 401, "auth.required")


def test_a_session_key_is_never_shown(cast: Cast) -> None:
    client = browser(cast.member)
    secret = Session.objects.get(user=cast.member).session_key
    assert secret not in client.get("/api/sessions").content.decode()


def test_the_new_key_is_shown_once(cast: Cast, audited: Any) -> None:
    client = browser(cast.member)
    made = client.send("POST", "/api/keys", {"name": "editor", "scopes": ["chat"], "expires_in_days": 1})
    assert made.status_code == 201
    shown = made.json()["key"]
    assert program(shown).get("/api/conversations").status_code == 200
    assert shown not in client.get("/api/keys").content.decode()
    assert audited("auth.key:created")[0]["actor"] == f"user:{cast.member.pk}"


# --- services ----------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_each_service_is_known_by_its_token() -> None:
    for caller in CALLERS:
        assert service(caller, "registry").get("/v1/models").status_code == 200


@pytest.mark.django_db
def test_a_token_is_good_for_its_own_caller_only() -> None:
    forged = token_of("airlock").replace("_airlock_", "_ui_")
    refused(program(forged, "registry"), 401, "auth.service_token", "/v1/models")


@pytest.mark.django_db
@pytest.mark.parametrize("damage", ["missing", "empty", "open to others", "a link"])
def test_without_a_usable_token_file_nobody_gets_in(settings: Any, damage: str) -> None:
    path = Path(settings.TOKENS_DIR) / "agent"
    client = service("agent", "registry")
    value = path.read_text()
    path.unlink()
    try:
        match damage:
            case "empty":
                path.touch(mode=0o600)
            case "open to others":
                path.write_text(value)
                path.chmod(0o644)
            case "a link":
                path.symlink_to(Path(settings.TOKENS_DIR) / "ui")
        refused(client, 503, "service.token_missing", "/v1/models")
    finally:
        path.unlink(missing_ok=True)


def test_a_service_for_a_person_may_do_what_that_person_may(cast: Cast) -> None:
    own = service("ui", "registry").send("POST", "/v1/model/verify-manifest", {})
    assert own.status_code == 200
    member = service("ui", "registry", on_behalf_of=cast.member)
    assert member.get("/v1/models").status_code == 200
    assert member.send("POST", "/v1/model/verify-manifest", {}).status_code == 403


@pytest.mark.parametrize("who", ["0", "999999", "-1", "x", "", "²", "٣", "9" * 30, "9" * 5000, "1 ", "1,2"])
def test_a_service_cannot_act_for_nobody(cast: Cast, who: str) -> None:
    client = ListenerClient("registry", key=token_of("ui"), HTTP_SECAI_ON_BEHALF_OF=who)
    refused(client, 401, "auth.on_behalf_of", "/v1/models")


def test_a_program_cannot_act_for_another_person(cast: Cast) -> None:
    client = program(key_of(cast.member, "chat"))
    client.defaults["HTTP_SECAI_ON_BEHALF_OF"] = str(cast.operator.pk)
    refused(client, 403, "auth.scope", "/api/audit/verify")


def test_a_service_of_a_switched_off_person_is_refused(cast: Cast) -> None:
    User.objects.filter(pk=cast.member.pk).update(is_active=False)
    refused(service("ui", "registry", on_behalf_of=cast.member), 401, "auth.on_behalf_of", "/v1/models")


# --- scopes ------------------------------------------------------------------------------------------

MATRIX = {
    ("ui", "GET", "/api/security/status"): "read",
    ("ui", "GET", "/api/conversations"): "chat",
    ("ui", "POST", "/api/chat"): "chat",
    ("ui", "POST", "/api/models/verify-manifest"): "models",
    ("ui", "GET", "/api/audit/verify"): "admin",
    ("ui", "POST", "/api/vault/lock"): "vault",
    ("ui", "POST", "/api/updates/apply"): "admin",
    ("registry", "GET", "/v1/models"): "read",
    ("registry", "POST", "/v1/promote"): "models",
    ("registry", "POST", "/v1/quarantine"): "models",
    ("firewall", "POST", "/v1/tool/invoke"): "tools",
    ("firewall", "PUT", "/v1/policy"): "admin",
    ("airlock", "POST", "/v1/proxy"): "egress",
    ("airlock", "POST", "/v1/enable"): "admin",
    ("search", "POST", "/search"): "egress",
    ("agent", "POST", "/v1/task"): "agent",
    ("agent", "GET", "/v1/modes"): "agent",
}


@pytest.mark.usefixtures("peers")
@pytest.mark.parametrize("scope", list(Scope))
def test_a_key_opens_what_its_scope_names_and_no_more(cast: Cast, scope: Scope) -> None:
    key = key_of(cast.operator, scope.value)
    for (listener, method, path), needed in MATRIX.items():
        answer = program(key, listener).send(method, path, {} if method != "GET" else None)
        allowed = scope in (needed, Scope.ADMIN)
        assert (answer.status_code == 403) is not allowed, (path, answer.content)
        if not allowed:
            assert (answer.json()["code"], answer.json()["needed"]) == ("auth.scope", needed)


def test_the_operator_holds_all_scopes_and_the_member_few() -> None:
    assert ROLE_SCOPES[Role.OPERATOR] == ALL_SCOPES
    assert not ROLE_SCOPES[Role.MEMBER] & {Scope.ADMIN, Scope.MODELS, Scope.EGRESS, Scope.TOOLS}


# --- claiming the box --------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_set_up_code_works_once(audited: Any) -> None:
    code = people.new_setup_code()
    form = {"code": code, "username": "olga", "password": PASSWORD, "again": PASSWORD}
    page = ListenerClient()
    page.get(f"/setup?code={code}")
    token = page.cookies["secai_csrf"].value
    claimed = page.post("/setup", form, headers={"X-CSRFToken": token})
    assert claimed.status_code == 302, claimed.content
    assert User.objects.get().is_operator
    assert len(audited("auth.person:created")) == 1
    again = ListenerClient()
    again.cookies["secai_csrf"] = token
    refusal = again.post("/setup", form | {"username": "eve"}, headers={"X-CSRFToken": token})
    assert refusal.status_code == 403
    assert User.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("code", ["", "x", "x" * 5000, "\x00"])
def test_a_wrong_set_up_code_claims_nothing(code: str) -> None:
    people.new_setup_code()
    assert ListenerClient().get("/setup", {"code": code}).status_code == 403
    assert not User.objects.exists()


@pytest.mark.django_db
def test_an_old_set_up_code_claims_nothing() -> None:
    from secai_site.kernel.auth.models import SetupCode

    code = people.new_setup_code()
    SetupCode.objects.update(expires_at=timezone.now())
    assert not people.setup_code_is_good(code)
    newer = people.new_setup_code()
    assert people.setup_code_is_good(newer)
    assert not people.setup_code_is_good(code)


def test_a_claimed_box_gives_no_code(cast: Cast) -> None:
    with pytest.raises(Exception, match="already has an operator"):
        people.new_setup_code()


# --- signing in --------------------------------------------------------------------------------------


def sign_in(username: str, password: str, **extra: str) -> Any:
    """POST the form, with a good CSRF token."""
    client = ListenerClient()
    client.get("/sign-in")
    token = client.cookies["secai_csrf"].value
    answer = client.post("/sign-in", {"username": username, "password": password, **extra},
                         headers={"X-CSRFToken": token})  # fmt: skip
    return answer, client


def test_signing_in_opens_a_fresh_session(cast: Cast, audited: Any) -> None:
    answer, client = sign_in("mia", PASSWORD)
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert client.get("/api/keys").status_code == 200
    assert audited("auth.session:started")[-1]["outcome"] == "done"


def test_a_wrong_password_is_refused_and_recorded(cast: Cast, audited: Any) -> None:
    for name, target in (("mia", f"user:{cast.member.pk}"), ("nobody", "unknown name")):
        answer, client = sign_in(name, "wrong")
        assert answer.status_code == 200
        assert "sessionid" not in client.cookies
        assert audited("auth.session:started")[-1] == {
            "actor": "nobody", "target": target, "outcome": "refused", "detail": {"code": "auth.password"},
        }  # fmt: skip
    assert not Session.objects.filter(user__isnull=False).exists()


def test_the_eleventh_attempt_in_a_minute_waits(cast: Cast) -> None:
    for _ in range(10):
        sign_in("mia", "wrong")
    answer, _client = sign_in("mia", PASSWORD)
    assert answer.status_code == 429
    assert int(answer["Retry-After"]) > 0


@pytest.mark.parametrize(
    "to",
    ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "\t//evil.example",
     "/\t/evil.example"],
)  # fmt: skip
def test_next_leads_to_this_box_only(cast: Cast, to: str) -> None:
    answer, _client = sign_in("mia", PASSWORD, next=to)
    assert (answer.status_code, answer["Location"]) == (302, "/")


def test_a_planted_session_is_not_taken_over(cast: Cast) -> None:
    client = ListenerClient()
    client.cookies["secai_session"] = "a" * 32
    client.get("/sign-in")
    token = client.cookies["secai_csrf"].value
    client.post("/sign-in", {"username": "mia", "password": PASSWORD}, headers={"X-CSRFToken": token})
    assert client.cookies["secai_session"].value != "a" * 32


# --- the admin's doors -------------------------------------------------------------------------------


def test_the_admin_has_no_sign_in_of_its_own(cast: Cast) -> None:
    client = ListenerClient()
    client.get("/sign-in")
    token = client.cookies["secai_csrf"].value
    answer = client.post(
        "/admin/login/", {"username": "olga", "password": PASSWORD}, headers={"X-CSRFToken": token}
    )
    assert (answer.status_code, answer["Location"]) == (302, "/sign-in?next=/admin/")
    assert not Session.objects.filter(user__isnull=False).exists()


def test_the_admin_is_the_operators_alone(cast: Cast) -> None:
    assert browser(cast.operator).get("/admin/").status_code == 200
    answer = browser(cast.member).get("/admin/", follow=True)
    assert answer.status_code == 403
    away = ListenerClient().get("/admin/", follow=True)
    assert away.redirect_chain[-1][0].startswith("/sign-in")


def test_the_admin_has_no_password_form_of_its_own(cast: Cast) -> None:
    answer = browser(cast.operator).get("/admin/password_change/")
    assert (answer.status_code, answer["Location"]) == (302, "/settings")
